"""Pages in a browser: login, logout, sessions, CSRF protection, permissions, languages, errors."""

import re
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
from starlette.applications import Starlette

from service.access import users
from service.access.roles import Role
from service.model.settings import Settings
from service.pages.routes import PAGES
from tests.integration.http_helpers import assert_failure, take_over
from tests.integration.page_sessions import form_token, log_in, without_session


@pytest.fixture
async def browser(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Open a browser without a session."""
    async with without_session(app) as http:
        yield http


@pytest.fixture
async def anne(app: Starlette) -> str:
    """Add the user anne, a task manager, and return her password."""
    await users.add(app.state.resources.database, "anne", "long enough", [Role.TASK_MANAGER])
    return "long enough"


async def test_the_login_redirects_to_the_requested_page(browser: httpx.AsyncClient, anne: str) -> None:
    sent = await browser.get("/tasks?status=FAILED&page=2")
    form = await browser.get(sent.headers["location"])
    target = re.search(r'name="next" value="([^"]*)"', form.text)
    assert target
    back = await log_in(browser, anne, next=target[1].replace("&amp;", "&"))

    assert (sent.status_code, form.status_code, back.status_code) == (303, 200, 303)
    assert sent.headers["location"] == "/login?next=/tasks%3Fstatus%3DFAILED%26page%3D2"
    assert back.headers["location"] == "/tasks?status=FAILED&page=2"
    assert (await browser.get(back.headers["location"])).status_code == 200


@pytest.mark.parametrize(
    "target", ["//elsewhere", "https://elsewhere", "/\\elsewhere", "\\\\elsewhere", "/a\nb", "javascript:1", "", "x"]
)
async def test_the_login_does_not_redirect_to_another_site(browser: httpx.AsyncClient, anne: str, target: str) -> None:
    answer = await log_in(browser, anne, next=target)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    ("role", "start"), [("TASK_VIEWER", "/tasks"), ("OBPROXY_VIEWER", "/clusters"), ("HOST_VIEWER", "/docs")]
)
async def test_the_start_page_is_one_that_the_user_may_see(
    browser: httpx.AsyncClient, app: Starlette, role: str, start: str
) -> None:
    await users.add(app.state.resources.database, "rosa", "long enough", [Role(role)])
    await log_in(browser, "long enough", name="rosa")

    sent = await browser.get("/")

    assert (sent.status_code, sent.headers["location"]) == (303, start)
    assert (await browser.get(start)).status_code == 200


async def test_a_wrong_password_reveals_nothing_and_blocks_the_login(browser: httpx.AsyncClient, anne: str) -> None:
    wrong = await log_in(browser, "wrong")
    unknown = await log_in(browser, "wrong", name="nobody")
    for _ in range(4):
        await log_in(browser, "wrong")
    blocked = await log_in(browser, anne)

    assert {wrong.status_code, unknown.status_code, blocked.status_code} == {401}
    assert "Wrong user name or password" in wrong.text
    assert wrong.text == unknown.text.replace("nobody", "anne")
    assert "Too many failed logins" in blocked.text
    assert "set-cookie" not in {*wrong.headers, *unknown.headers, *blocked.headers}
    assert "wrong" not in re.sub(r"Wrong user name or password", "", wrong.text)


async def test_the_session_cookie_is_restricted(browser: httpx.AsyncClient, anne: str) -> None:
    plain = (await log_in(browser, anne)).headers["set-cookie"]
    browser.base_url = httpx.URL("https://service")
    secure = (await log_in(browser, anne)).headers["set-cookie"]

    assert {"HttpOnly", "Path=/", "SameSite=lax", "Max-Age=43200"} <= set(plain.split("; "))
    assert "Secure" not in plain
    assert "Secure" in secure.split("; ")


async def test_the_database_stores_a_digest_of_the_session_token(
    browser: httpx.AsyncClient, anne: str, settings: Settings
) -> None:
    await log_in(browser, anne)
    token = browser.cookies["session"]

    async with await psycopg.AsyncConnection.connect(settings.database_url.get_secret_value()) as connection:
        rows = await (await connection.execute("SELECT digest, expires > now() FROM session")).fetchall()

    assert len(rows) == 1 and rows[0][1]
    assert len(rows[0][0]) == 32 and token.encode() not in rows[0][0]


async def test_a_logout_invalidates_the_cookie(browser: httpx.AsyncClient, anne: str) -> None:
    await log_in(browser, anne)
    kept = browser.cookies["session"]
    answer = await browser.post("/logout", data={"form_token": await form_token(browser)})
    browser.cookies.set("session", kept)

    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert (await browser.get("/tasks")).status_code == 303


async def test_a_session_ends_on_password_change_on_disabling_and_on_expiry(
    browser: httpx.AsyncClient, app: Starlette, anne: str, settings: Settings
) -> None:
    database = app.state.resources.database

    async def statuses_around(change: str) -> tuple[int, int]:
        await log_in(browser, anne)
        before = await browser.get("/tasks")
        match change:
            case "password":
                await users.set_password(database, "anne", anne)
            case "user":
                await users.set_enabled(database, "anne", enabled=False)
                await users.set_enabled(database, "anne", enabled=True)
            case "time":
                async with database.transaction() as connection:
                    await connection.execute("UPDATE session SET expires = now()")
        return before.status_code, (await browser.get("/tasks")).status_code

    for change in ("password", "user", "time"):
        assert await statuses_around(change) == (200, 303), change


async def test_a_change_needs_the_csrf_token(browser: httpx.AsyncClient, anne: str) -> None:
    await log_in(browser, anne)
    token = await form_token(browser)
    retry = "/api/v2/tasks/instances/999/retry"

    rejected = [
        await browser.post(retry),
        await browser.post(retry, json={"form_token": token}),
        await browser.post(retry, headers={"X-Form-Token": token[:-1] + "x"}),
        await browser.post(retry, content=b"\xff\xfe"),
    ]
    rejected_forms = [
        await browser.post("/logout", data={"form_token": ""}),
        await browser.post("/logout", data={"form_token": "é" * 64}),
    ]
    allowed = [
        await browser.post(retry, headers={"X-Form-Token": token}),
        await browser.post(retry, data={"form_token": token}),
    ]

    assert {answer.status_code for answer in [*rejected, *rejected_forms]} == {403}
    assert {assert_failure(answer).error.code for answer in rejected} == {3100}
    assert all("<h1>" in answer.text and "CSRF check failed" in answer.text for answer in rejected_forms)
    assert {answer.status_code for answer in allowed} == {404}
    assert (await browser.get("/tasks")).status_code == 200


async def test_the_csrf_token_of_another_session_is_rejected(browser: httpx.AsyncClient, anne: str) -> None:
    await log_in(browser, anne)
    other = await form_token(browser)
    await log_in(browser, anne)

    assert (await browser.post("/logout", data={"form_token": other})).status_code == 403


async def test_login_csrf_is_rejected(browser: httpx.AsyncClient, anne: str) -> None:
    browser.headers["Sec-Fetch-Site"] = "cross-site"

    assert (await log_in(browser, anne)).status_code == 403
    assert not browser.cookies


async def test_a_missing_permission_is_an_error_page(browser: httpx.AsyncClient, app: Starlette) -> None:
    await users.add(app.state.resources.database, "hans", "long enough", [Role.HOST_VIEWER])
    await log_in(browser, "long enough", name="hans")

    page = await browser.get("/tasks")

    assert page.status_code == 403
    assert page.headers["content-type"].startswith("text/html")
    assert "User hans does not have the permission TASK:*:READ." in page.text
    assert 'href="/tasks"' not in page.text


async def test_an_unknown_path_is_an_error_page(browser: httpx.AsyncClient, anne: str) -> None:
    await log_in(browser, anne)

    page = await browser.get("/nowhere/<script>")
    api = await browser.get("/api/nowhere")

    assert page.status_code == 404 and "&lt;script&gt;" in page.text and "<script>" not in page.text
    assert assert_failure(api).status == 404


async def test_the_query_filters_and_pages_the_list(
    client: httpx.AsyncClient, browser: httpx.AsyncClient, anne: str
) -> None:
    await take_over(client, 1, 2, 3)
    await log_in(browser, anne)

    everything = await browser.get("/tasks")
    first = await browser.get("/tasks?hostId=2&status=RUNNING")
    none = await browser.get("/tasks?status=FAILED")
    paged = await browser.get("/tasks?size=2&page=2&sort=id,asc")
    wrong = await browser.get("/tasks?size=0")

    assert everything.text.count("<tr>") == 4
    assert first.text.count("<tr>") == 2 and "odp-2" in first.text
    assert "No matching task." in none.text
    assert paged.text.count("<tr>") == 2 and "Page 2 of 2" in paged.text
    assert 'href="/tasks?size=2&amp;sort=id%2Casc&amp;state=FAILED"' in paged.text, "another filter, its first page"
    assert wrong.status_code == 400 and "size must be at least 1" in wrong.text


async def test_the_language_and_theme_are_chosen_and_kept(browser: httpx.AsyncClient, anne: str) -> None:
    await log_in(browser, anne)
    english = await browser.get("/tasks")
    chinese = await browser.get("/tasks", headers={"Accept-Language": "zh-CN,zh;q=0.9"})
    switched = await browser.get("/preferences?language=zh-CN&theme=dark&next=/tasks?size=20")
    kept = await browser.get("/tasks")
    await browser.get("/preferences?language=xx&theme=xx")

    assert '<html lang="en" data-theme="auto">' in english.text and "Running" in english.text
    assert '<html lang="zh-CN" data-theme="auto">' in chinese.text and "运行中" in chinese.text
    assert (switched.status_code, switched.headers["location"]) == (303, "/tasks?size=20")
    assert '<html lang="zh-CN" data-theme="dark">' in kept.text
    assert (await browser.get("/tasks")).text.startswith(kept.text[:60])


async def test_static_files_are_cached_by_version(browser: httpx.AsyncClient) -> None:
    login = await browser.get("/login")
    address = re.search(r'href="(/static/base\.css\?v=[0-9a-f]{12})"', login.text)
    assert address
    named = await browser.get(address[1])
    unnamed = await browser.get("/static/base.css")
    again = await browser.get("/static/base.css", headers={"If-None-Match": unnamed.headers["etag"]})

    assert named.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert unnamed.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert named.headers["content-type"] == "text/css; charset=utf-8"


async def test_every_page_needs_a_login(browser: httpx.AsyncClient) -> None:
    public_paths = {route.path for route in PAGES if not route.permission}

    assert {path for path in public_paths if not path.startswith("/static/")} == {"/login", "/preferences"}
    for route in PAGES:
        if route.path not in public_paths:
            answer = await browser.request(route.method, re.sub(r"\{\w+\}", "1", route.path))
            assert (answer.status_code, answer.headers["location"][:6]) == (303, "/login"), route.path


async def test_an_internal_error_is_a_page_with_a_trace_id(
    browser: httpx.AsyncClient, anne: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log_in(browser, anne)

    async def broken(*_: object, **__: object) -> None:
        raise LookupError("secret detail")

    monkeypatch.setattr("service.tasks.instances.page", broken)
    page = await browser.get("/tasks", headers={"X-Trace-Id": "0123456789abcdef"})

    assert page.status_code == 500
    assert page.headers["content-type"].startswith("text/html")
    assert "0123456789abcdef" in page.text and "secret detail" not in page.text
    assert page.headers["x-frame-options"] == "DENY"
