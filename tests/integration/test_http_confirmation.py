"""Operations of the pages need a confirmation, and only the service can report one as executed."""

import html
import re
import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.applications import Starlette

from service.access.roles import Role
from service.model.tasks import TaskFilter, TaskStatus
from service.model.types import Page
from service.model.workflow import TAKEOVER
from service.pages import addresses
from service.pages.routes import PAGES
from service.tasks import instances
from service.tasks.resources import Resources
from tests.integration import sample_tasks
from tests.integration.page_sessions import form_token, log_in, logged_in

WITHOUT_CONFIRMATION = {"/login", "/logout", "/clusters/{id}/takeover/check", "/clusters/{id}/takeover/discover"}
"""Forms that change no host."""
FIELD = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


@pytest.fixture
async def browser(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Open a browser in which an administrator is logged in."""
    async with logged_in(app, Role.ADMIN) as http:
        yield http


@pytest.fixture
def resources(app: Starlette) -> Resources:
    """Return the resources of the application."""
    found: Resources = app.state.resources
    return found


@pytest.fixture
async def failed(resources: Resources) -> int:
    """Make a failed task instance."""
    task_id = await sample_tasks.take_over(resources, 1)
    await sample_tasks.advance(resources, task_id, [], resources.workflows[TAKEOVER].roles[0], "It is full.")
    return task_id


async def test_no_form_executes_an_operation_without_a_confirmation(
    browser: httpx.AsyncClient, resources: Resources, failed: int
) -> None:
    posts = {route.path for route in PAGES if route.method == "POST"} - WITHOUT_CONFIRMATION
    ids = {"taskInstanceId": 1, "subtaskInstanceId": 1, "requestId": 1, "id": 1, "obproxyId": 1}
    form = {"form_token": await form_token(browser), "tasks": "1", "requests": "1", "host-1": "on", "port-1": "2883"}
    assert len(posts) >= 7

    for path in posts:
        for operation in ("retry", "rollback", "cancel", "skip", "refresh", "release"):
            answer = await browser.post(path.format(**ids, operation=operation), data=form)
            expected = 400 if path == "/clusters/{id}/takeover" else 428
            assert answer.status_code == expected, path

    found, _ = await instances.page(resources.database, TaskFilter(), Page())
    assert [(task.id, task.status) for task, _ in found] == [(failed, TaskStatus.FAILED)]


async def test_the_server_asks_and_executes_after_the_confirmation(
    browser: httpx.AsyncClient, resources: Resources, failed: int
) -> None:
    page = (await browser.get(f"/tasks/{failed}?view=flow")).text
    form = re.search(
        r'<form method="post" action="(/tasks/\d+/rollback\?view=flow)" data-confirm>((?s:.*?))</form>', page
    )
    assert form

    asked = await browser.post(form[1], data=dict(FIELD.findall(form[2])))

    assert asked.status_code == 428
    assert "<h1>Roll back this task?</h1>" in asked.text and ">Roll back</button>" in asked.text
    assert f'href="/tasks/{failed}?view=flow"' in asked.text, "back"
    (task, _) = await instances.get(resources.database, failed)
    assert task.status is TaskStatus.FAILED
    section = asked.text.partition('<section class="card notice">')[2]
    answer = await browser.post(form[1], data=dict(FIELD.findall(section.partition("</form>")[0])))
    assert answer.status_code == 303
    (task, _) = await instances.get(resources.database, failed)
    assert task.status is TaskStatus.RUNNING


@pytest.mark.parametrize(("language", "back"), [("en", "Cancel"), ("zh-CN", "取消")])
async def test_the_answer_differs_from_the_way_back(
    browser: httpx.AsyncClient, failed: int, language: str, back: str
) -> None:
    for path in ("/tasks", f"/tasks/{failed}", "/requests", "/requests/1"):
        page = (await browser.get(path, headers={"Accept-Language": language})).text
        answers = re.findall(r'name="confirm-answer" value="([^"]*)"', page)
        assert answers and back not in answers, path


async def test_a_question_leads_to_no_other_site(browser: httpx.AsyncClient, failed: int) -> None:
    form = {"form_token": await form_token(browser), "confirm-page": "//other.site/", "confirm-title": "<b>Do it</b>"}

    page = (await browser.post(f"/tasks/{failed}/retry", data=form)).text

    assert "other.site" not in page and "<b>Do it</b>" not in page


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/tasks/1/retry", "/tasks/1?view=flow"),
        ("/clusters/1/takeover/check", "/clusters/1/takeover"),
        ("/clusters/9/takeover/check", "/tasks"),  # an error: the start page
    ],
)
async def test_a_page_that_answers_a_form_leads_to_another_language(
    browser: httpx.AsyncClient, failed: int, path: str, leads_to: str
) -> None:
    """The address of the form accepts no GET."""
    form = {"form_token": await form_token(browser), "confirm-page": f"/tasks/{failed}?view=flow"}
    page = (await browser.post(path, data=form)).text
    link = re.search(r'href="(/preferences\?language=[^"]*)"', page)
    assert link

    answer = await browser.get(html.unescape(link[1]), follow_redirects=True)

    assert (answer.status_code, str(answer.url)) == (200, f"http://service{leads_to}")


async def test_an_unconfirmed_takeover_keeps_the_form(browser: httpx.AsyncClient) -> None:
    form = {"form_token": await form_token(browser), "host-1": "on", "port-1": "2899", "password-1": "Old#1"}

    answer = await browser.post("/clusters/1/takeover", data=form)

    assert answer.status_code == 400 and "Nothing was submitted: the takeover was not confirmed." in answer.text
    assert 'value="2899"' in answer.text and "Old#1" not in answer.text
    assert 'id="take-over" disabled' in answer.text, "the script enables it"


async def test_no_link_of_a_page_reports_an_operation_again(browser: httpx.AsyncClient, failed: int) -> None:
    form = {"form_token": await form_token(browser), "confirmed": "yes"}
    location = (await browser.post(f"/tasks/{failed}/retry?view=flow", data=form)).headers["location"]

    page = (await browser.get(location)).text

    assert 'class="toast"' in page and "done=" not in page
    assert f"next=/tasks/{failed}%3Fview%3Dflow" in page


async def test_only_the_service_can_report_an_operation(
    browser: httpx.AsyncClient, failed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {"form_token": await form_token(browser), "confirmed": "yes"}
    location = (await browser.post(f"/tasks/{failed}/retry", data=form)).headers["location"]
    (note,) = parse_qs(urlsplit(location).query)["done"]
    forged = ("retry", "retry-", note[:-1] + ("0" if note[-1] != "0" else "1"), note.replace("retry", "rollback"))

    async def shows_a_note(address: str) -> bool:
        answer = await browser.get(address)
        assert answer.status_code == 200
        return 'class="toast"' in answer.text

    assert await shows_a_note(location)
    for text in forged:
        assert not await shows_a_note(f"/tasks/{failed}?done={text}"), text
    assert not await shows_a_note(f"/requests/1?done={note}"), "of another page"
    assert not await shows_a_note(f"/clusters/1/takeover?done={note}&submitted=7")
    moment = time.time() + addresses.NOTE_SECONDS + 1
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: moment)
        assert not await shows_a_note(location), "too old"
    await log_in(browser, "long enough")
    assert not await shows_a_note(location), "of another session"
