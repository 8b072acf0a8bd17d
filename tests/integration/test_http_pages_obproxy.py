"""Pages of OBProxy clusters, the takeover form, and the audit."""

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from psycopg.types.json import Jsonb
from starlette.applications import Starlette

from service.access import users
from service.access.roles import Role
from service.model.rollout import Rollout
from service.model.tasks import TaskFilter
from service.model.types import Page
from service.model.workflow import PRECHECK, TAKEOVER
from service.outcome.run_progress import Change, Ended, ServerFacts, Started, Verdict
from service.pages import takeover as pages_takeover
from service.store.database import execute, fetch
from service.tasks import instances, operations, requests
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from tests.integration import sample_tasks
from tests.integration.http_helpers import take_over
from tests.integration.page_sessions import TOKEN, form_token, logged_in
from tests.integration.test_discoveries import FOUND

FORM = "/clusters/1/takeover"


@pytest.fixture
async def browser(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Open a browser in which an administrator is logged in."""
    async with logged_in(app, Role.ADMIN) as http:
        yield http


async def send(browser: httpx.AsyncClient, **fields: str) -> httpx.Response:
    """Send the takeover form, as the dialog of the script confirms it."""
    token = await form_token(browser, FORM)
    return await browser.post(FORM, data={"form_token": token, "confirmed": "yes", **fields})


def row(page: str, name: str) -> str:
    """Return the table row that contains `name`."""
    rows: list[str] = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    (found,) = [part for part in rows if name in text(part).split()]
    return found


def text(page: str) -> str:
    """Return the text of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


async def manage(resources: Resources, task_id: int) -> None:
    """Let a takeover succeed; a restart is pending."""
    _, subtasks = await instances.get(resources.database, task_id)
    changes: list[Change] = []
    for subtask in subtasks:
        learned = ServerFacts(
            role=subtask.role, values={"version": "4.3.1.0-1", "pending_restart": ["work_thread_num"]}
        )
        changes += [Started(role=subtask.role), learned]
        changes.append(Ended(role=subtask.role, verdict=Verdict.SUCCESSFUL, code="", message=""))
    await Recorder(resources, task_id).record(changes)


async def test_a_cluster_shows_the_drift_of_its_servers(browser: httpx.AsyncClient, app: Starlette) -> None:
    await send(browser, **{"host-1": "on", "port-1": "2884"})
    resources: Resources = app.state.resources
    await manage(resources, 1)
    learned = {
        "drift": ["no watchdog (obproxyd.sh) supervises it"],
        "parameter_drift": [{"name": "proxy_mem_limited", "expected": "3G", "found": "<2G>"}],
        "password_drift": ["observer_sys_password"],
        "unmanaged_changes": [
            {"what": "process", "name": "obproxy", "before": "pid 7", "after": "pid 9", "seen": "2026-01-02T03:04:05Z"}
        ],
        "discovered": "2026-01-02T03:04:05Z",
        "discovery_error": "Permission denied (publickey)",
    }
    async with resources.database.transaction() as connection:
        await execute(connection, "update_managed_server_facts", server_id=1, values=Jsonb(learned))

    answer = (await browser.get("/clusters/1")).text
    page = text(answer)
    assert "no watchdog (obproxyd.sh) supervises it" in page
    assert "proxy_mem_limited is &lt;2G&gt;, expected is 3G" in page
    assert "observer_sys_password is ***, expected is ***" in page
    assert "Changed outside the service: process pid 7 → pid 9" in page
    assert "Not readable: Permission denied (publickey) As of" in page


async def test_a_takeover_of_one_host_redirects_to_its_task(browser: httpx.AsyncClient, app: Starlette) -> None:
    answer = await send(browser, **{"host-1": "on", "port-1": "2884", "password-1": "Old#1", "port-2": "2883"})
    resources: Resources = app.state.resources
    async with resources.database.transaction() as connection:
        (task,) = await fetch(connection, "task_by_id", task_id=1)
        (server,) = await fetch(connection, "server_by_id", server_id=task["obproxy_server_id"])
        (secret,) = await fetch(connection, "secrets_of_task", task_id=1)

    assert answer.status_code == 303 and answer.headers["location"].startswith("/tasks/1?done=takeover-")
    assert (task["creator"], server["sql_port"], server["host_id"]) == ("anne", 2884, 1)
    assert resources.secrets.decrypt(secret["ciphertext"]).get_secret_value() == "Old#1"


@pytest.mark.parametrize(
    ("clusters", "checked_box", "stored"),
    [("false", False, None), ("false", True, "true"), ("true", True, None), ("true", False, "false")],
)
async def test_the_checkbox_overrides_the_restart_setting_of_the_cluster(
    browser: httpx.AsyncClient,
    app: Starlette,
    inventory_file: Path,
    clusters: str,
    checked_box: bool,
    stored: str | None,
) -> None:
    inventory = inventory_file.read_text(encoding="utf-8")
    inventory_file.write_text(
        inventory.replace("name: test\n", f"name: test\n        obproxy_allow_restart: {clusters}\n")
    )
    box = re.search(r'<input type="checkbox" name="allow-restart"[^>]*>', (await browser.get(FORM)).text)
    assert box and ("checked" in box[0]) == (clusters == "true")

    await send(browser, **{"host-1": "on", "port-1": "2883"}, **({"allow-restart": "on"} if checked_box else {}))
    async with app.state.resources.database.transaction() as connection:
        (task,) = await fetch(connection, "task_by_id", task_id=1)
    assert task["context"]["stringMap"].get("obproxy_allow_restart") == stored
    page = text((await browser.get("/tasks/1")).text)
    assert ("Restart Allowed by the request" in page) == (stored == "true")
    assert ("Restart Forbidden by the request" in page) == (stored == "false")


async def test_a_rejected_form_keeps_its_checkbox(browser: httpx.AsyncClient) -> None:
    for checked_box in ({"allow-restart": "on"}, {}):
        page = (await send(browser, **{"host-99": "on", "port-99": "2883"}, **checked_box)).text
        assert ('name="allow-restart" checked' in page) == bool(checked_box)


async def test_who_may_not_read_tasks_sees_their_ids(browser: httpx.AsyncClient, app: Starlette) -> None:
    await users.add(app.state.resources.database, "ben", "long enough", [Role.OBPROXY_MANAGER])
    await browser.post("/login", data={"name": "ben", "password": "long enough"})
    fields = {f"{name}-{host}": value for host in (1, 2) for name, value in (("host", "on"), ("port", "2883"))}
    answer = await send(browser, **fields)
    page = text((await browser.get(answer.headers["location"])).text)

    assert "2 takeovers submitted: #1, #2" in page


@pytest.mark.parametrize(
    ("fields", "status", "expected"),
    [
        ({}, 400, "hosts must not be empty"),
        ({"host-1": "on", "port-1": "99999"}, 400, "hosts[0].sqlPort must be at most 65535; it is 99999."),
        ({"host-1": "on", "port-1": "x"}, 400, "hosts[0].sqlPort must be an integer"),
        ({"host-99": "on", "port-99": "2883"}, 404, "Host 99 does not exist in the inventory."),
        ({"host-3": "on", "port-3": "2883"}, 409, "Host 3 "),
    ],
)
async def test_a_rejected_form_shows_the_error_and_keeps_its_input(
    browser: httpx.AsyncClient,
    app: Starlette,
    client: httpx.AsyncClient,
    fields: dict[str, str],
    status: int,
    expected: str,
) -> None:
    await take_over(client, 3)
    answer = await send(browser, **fields, **{"port-2": "3306", "password-1": "Secret#1"})

    assert answer.status_code == status
    assert expected in text(answer.text).replace("&#34;", '"')
    assert 'value="3306"' in row(answer.text, "odp-2")
    assert ("checked" in row(answer.text, "odp-1")) == ("host-1" in fields)
    assert "Secret#1" not in answer.text
    _, total = await instances.page(app.state.resources.database, TaskFilter(), Page())
    assert total == 1


async def discovered(
    app: Starlette, host_id: int, outcome: str, *obproxies: dict[str, Any], rules: Sequence[dict[str, str]] = ()
) -> None:
    """Record the result of a discovery that was requested."""
    async with app.state.resources.database.transaction() as connection:
        (row,) = await fetch(connection, "database_time")
        await execute(
            connection,
            "record_host_discovery",
            host_id=host_id,
            start_time=row["moment"],
            outcome=outcome,
            message=None if outcome == "DISCOVERED" else "no <route>",
            rules=Jsonb(list(rules)),
            obproxies=Jsonb(list(obproxies)),
        )


async def test_the_form_shows_what_runs_on_the_hosts_and_what_prevents_a_takeover(
    browser: httpx.AsyncClient, app: Starlette
) -> None:
    token = TOKEN.search((await browser.get(FORM)).text)
    assert token
    answer = await browser.post(f"{FORM}/discover", data={"form_token": token[1], "keyword": "odp-"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{FORM}?keyword=odp-")
    form = (await browser.get(FORM)).text
    assert [text(row(form, f"odp-{n}")).count("Being discovered") for n in (1, 2, 3)] == [1, 1, 1]

    rule = {"rule": "Exactly one OBProxy runs.", "found": "2 of <them>.", "fix": "stop one."}
    await discovered(app, 1, "DISCOVERED", FOUND | {"sql_port": 3883, "app_name": "<shop>", "login": "cluster"})
    await discovered(app, 2, "DISCOVERED", FOUND | {"rules": [rule]}, FOUND | {"sql_port": 3883, "rules": [rule]})
    await discovered(app, 3, "UNREACHABLE")
    form = (await browser.get(FORM)).text
    good, two, gone = (row(form, f"odp-{n}") for n in (1, 2, 3))
    assert "Can be taken over port 3883, 4.3.1.0-1, &lt;shop&gt;, systemd" in text(good)
    assert "data-qualifies" in good and 'value="3883"' in good
    assert "Cannot be taken over" in text(two) and "data-qualifies" not in two
    assert two.count("Exactly one OBProxy runs.") == 1 and "2 of &lt;them&gt;." in two and "stop one." in two
    assert "Unreachable no &lt;route&gt;" in text(gone) and "disabled" not in gone

    await discovered(app, 1, "DISCOVERED", FOUND | {"sql_port": 3884, "login": "untried", "rules": [rule]})
    assert 'value="2883"' in row((await browser.get(FORM)).text, "odp-1"), "any user can start such a process"

    await discovered(app, 1, "DISCOVERED", FOUND | {"login": "denied"})
    await discovered(app, 2, "DISCOVERED", rules=[rule])
    form = (await browser.get(FORM)).text
    assert "Password needed" in text(row(form, "odp-1")) and "data-needs-password" in row(form, "odp-1")
    assert "No OBProxy runs" in text(row(form, "odp-2")) and "stop one." in row(form, "odp-2")


async def test_too_many_hosts_to_discover_are_rejected_on_the_form(browser: httpx.AsyncClient, app: Starlette) -> None:
    resources: Resources = app.state.resources
    object.__setattr__(resources, "settings", resources.settings.model_copy(update={"hosts_limit": 1}))
    token = TOKEN.search((await browser.get(FORM)).text)
    assert token
    answer = await browser.post(f"{FORM}/discover", data={"form_token": token[1]})
    assert answer.status_code == 400 and "at most 1 hosts, not 3" in answer.text


async def test_the_form_shows_servers_and_last_takeovers(
    browser: httpx.AsyncClient, app: Starlette, client: httpx.AsyncClient
) -> None:
    done, _ = await take_over(client, 1, 2)
    await manage(app.state.resources, done["id"])
    form = (await browser.get(FORM)).text

    assert "Running port 2883 in test, 4.3.1.0-1 Last task" in text(row(form, "odp-1"))
    assert f"#{done['id']} Completed" in text(row(form, "odp-1"))
    assert "disabled" in row(form, "odp-2"), "a task instance of it is running"
    assert "disabled" in row(form, "odp-1"), "it is managed"
    assert "Not discovered" in text(row(form, "odp-3")) and "disabled" not in row(form, "odp-3")
    assert "bastion" not in form
    narrowed = (await browser.get(FORM, params={"keyword": "2.13"})).text
    assert [" hidden>" in row(narrowed, name) for name in ("odp-1", "odp-2", "odp-3")] == [True, True, False]
    assert "Prepare obproxy install" in form and "does not allow a restart" in form


async def test_the_pages_show_clusters_and_their_servers(
    browser: httpx.AsyncClient, app: Starlette, client: httpx.AsyncClient
) -> None:
    done, _ = await take_over(client, 1, 2)
    await manage(app.state.resources, done["id"])
    clusters = text((await browser.get("/clusters")).text)
    servers = (await browser.get("/clusters/1")).text

    assert "1 test Running 1 To be taken over 1 4.3.1.0-1 1 CONFIG_URL" in clusters
    assert "7 empty None" in clusters
    assert "work_thread_num" in row(servers, "odp-1") and "work_thread_num" not in row(servers, "odp-2")
    assert (await browser.get("/clusters/99")).status_code == 404


async def test_the_last_task_of_hosts_and_servers_is_for_those_who_may_read_task_instances(
    browser: httpx.AsyncClient, app: Starlette, client: httpx.AsyncClient
) -> None:
    done, running = await take_over(client, 1, 2)
    await manage(app.state.resources, done["id"])
    paths = ("/clusters/1", FORM, f"{FORM}/rows?since={quote((datetime.now(UTC) - timedelta(hours=1)).isoformat())}")

    async def shown(role: Role, path: str) -> list[str]:
        async with app.state.resources.database.transaction() as connection:
            await connection.execute("UPDATE user_account SET roles = %s WHERE name = 'anne'", ([role],))
        answer = await browser.get(path)
        assert answer.status_code == 200
        return re.findall(rf"#(?:{done['id']}|{running['id']})\b|Last task|Completed|Queued", text(answer.text))

    for path in paths:
        assert await shown(Role.CLUSTER_MANAGER, path) and not await shown(Role.OBPROXY_MANAGER, path), path
    assert not await shown(Role.OBPROXY_VIEWER, "/clusters/1")


async def test_the_audit_shows_and_filters_events(browser: httpx.AsyncClient) -> None:
    await send(browser, **{"host-1": "on", "port-1": "2883"})
    page = text((await browser.get("/audit")).text)
    of_anne = text((await browser.get("/audit?userName=anne")).text)
    of_unknown_user = text((await browser.get("/audit?userName=unknown")).text)

    assert f"POST {FORM} 303" in page and f"POST {FORM} 303" in of_anne
    assert "No changes yet." in of_unknown_user


async def test_the_pages_are_translated(browser: httpx.AsyncClient) -> None:
    for path, expected in (("/clusters", "OBProxy 集群"), (FORM, "接管"), ("/audit", "审计")):
        assert expected in (await browser.get(path, headers={"Accept-Language": "zh-CN"})).text


@pytest.mark.parametrize("operation", ["refresh", "restart", "release"])
async def test_a_managed_server_has_buttons(
    browser: httpx.AsyncClient, client: httpx.AsyncClient, resources: Resources, operation: str
) -> None:
    (document,) = await take_over(client, 1)
    server = document["context"]["stringMap"]["obproxy_server_id"]
    address = f"/clusters/1/servers/{server}/{operation}"
    assert address not in (await browser.get("/clusters/1")).text, "a takeover is running"
    await manage(resources, document["id"])
    page = (await browser.get("/clusters/1")).text
    token = TOKEN.search(page)
    assert address in page and token

    form = {"form_token": token[1], "confirmed": "yes"}
    answer = await browser.post(address, data=form)

    assert (answer.status_code, answer.headers["Location"]) == (303, f"/tasks/{document['id'] + 1}")
    submitted = (await browser.get("/clusters/1")).text
    assert "Running Last active" in text(submitted), "its status changes when the run starts"
    assert address not in submitted, "its workflow is running"
    assert (await browser.post(address.replace(operation, "upgrade"), data=form)).status_code == 404


async def test_only_the_rows_that_changed_are_sent_again(browser: httpx.AsyncClient, inventory_file: Path) -> None:
    """The form polls while hosts are discovered: the page of 1000 hosts has more than 1 MB."""
    hosts = "".join(f"    odp-{n}: {{ansible_host: 192.0.2.1, ocp_host_id: {n}}}\n" for n in range(1, 1001))
    inventory_file.write_text(f"all:\n  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test}}\n  hosts:\n{hosts}")
    page = (await browser.get(FORM)).text
    moment, token = re.search(r'data-moment="([^"]+)"', page), TOKEN.search(page)
    assert moment and token and page.count("<tr id=") == 1000

    before = (await browser.get(f"{FORM}/rows", params={"since": moment[1]})).text
    await browser.post(f"{FORM}/discover", data={"form_token": token[1], "keyword": "odp-777"})
    after = (await browser.get(f"{FORM}/rows", params={"since": moment[1]})).text

    assert "<tr" not in before
    assert re.findall(r'<tr id="row-(\d+)" data-state="(\w+)"', after) == [("777", "PENDING")]
    assert len(after) < len(page) / 500
    later = re.search(r'data-moment="([^"]+)"', after)
    assert later and later[1] > moment[1]


async def test_a_check_leads_to_the_takeover_of_the_hosts_that_passed(
    browser: httpx.AsyncClient, app: Starlette
) -> None:
    resources: Resources = app.state.resources
    found = TOKEN.search((await browser.get(FORM)).text)
    assert found
    token = {"form_token": found[1]}
    typed = {"host-1": "on", "port-1": "2884", "password-1": "Old#1", "host-2": "on", "port-2": "2883"}

    answer = await browser.post(f"{FORM}/check", data={**token, **typed, "canary": "1", "max-failures": "3"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/requests/1")
    assert "take-over-passed" not in (await browser.get("/requests/1")).text  # it is running
    roles = resources.workflows[PRECHECK].roles
    for task_id, codes in ((1, {}), (2, {roles[3]: "FINDINGS"})):
        changes: list[Change] = []
        for role in roles:
            verdict = Verdict.FAILED if role in codes else Verdict.SUCCESSFUL
            ended = Ended(role=role, verdict=verdict, code="FINDINGS" if role in codes else "", message="Rule: a.")
            changes += [Started(role=role), ended]
        await Recorder(resources, task_id).record(changes)
    page = (await browser.get("/requests/1")).text
    chinese = (await browser.get("/requests/1", headers={"Accept-Language": "zh-CN"})).text
    assert "Take over the 1 that passed" in page and "接管检查通过的 1 台主机" in chinese

    answer = await browser.post("/requests/1/takeover", data={**token, "confirmed": "yes"})

    assert answer.status_code == 303 and answer.headers["location"].startswith("/requests/2?done=takeover-")
    async with resources.database.transaction() as connection:
        (host,) = await fetch(connection, "hosts_of_request", request_id=2, task_ids=None)
        (task,) = await fetch(connection, "tasks_by_id", task_ids=[host["task_id"]])
        (server,) = await fetch(connection, "server_by_id", server_id=task["obproxy_server_id"])
        (secret,) = await fetch(connection, "secrets_of_task", task_id=task["id"])
    assert (task["workflow"], task["host_id"], server["sql_port"]) == ("takeover", 1, 2884)
    assert resources.secrets.decrypt(secret["ciphertext"]).get_secret_value() == "Old#1"
    assert (await requests.get(resources.database, 2)).rollout == Rollout(canary=1, max_failures=3)
    assert "take-over-passed" not in (await browser.get("/requests/1")).text  # none is left
    again = await browser.post("/requests/1/takeover", data={**token, "confirmed": "yes"})
    assert again.status_code == 409 and "no host that passed" in again.text


async def test_the_row_of_a_host_is_sent_after_each_change_of_its_task_instance(
    browser: httpx.AsyncClient, app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_takeover, "COMMIT_DELAY", timedelta())
    resources: Resources = app.state.resources
    moment = await database_time(resources)
    task_id = await sample_tasks.take_over(resources, 1)

    locked = await changed_rows(browser, moment)
    assert re.findall(r'<tr id="row-(\d+)"[^>]* class="locked"', locked) == ["1"] and "Queued" in text(locked)
    moment = await database_time(resources)
    assert "<tr" not in await changed_rows(browser, moment), "a host that waits is not sent again"

    role = resources.workflows[TAKEOVER].roles[0]
    await sample_tasks.advance(resources, task_id, [], role, "It is full.")
    failed = await changed_rows(browser, moment)
    assert re.findall(r'<tr id="row-(\d+)"', failed) == ["1"] and "locked" not in failed

    moment = await database_time(resources)
    assert "<tr" not in await changed_rows(browser, moment)
    await operations.retry_task(resources, task_id)
    assert re.findall(r'<tr id="row-(\d+)"[^>]* class="locked"', await changed_rows(browser, moment)) == ["1"]


async def database_time(resources: Resources) -> datetime:
    """Return the time of the database."""
    async with resources.database.autocommit() as connection:
        (row,) = await fetch(connection, "database_time")
    moment: datetime = row["moment"]
    return moment


async def changed_rows(browser: httpx.AsyncClient, moment: datetime) -> str:
    """Return the rows of the form that may have changed since a moment."""
    return (await browser.get(f"{FORM}/rows", params={"since": moment.isoformat()})).text


async def test_a_port_that_was_chosen_is_marked(browser: httpx.AsyncClient) -> None:
    page = (await browser.get(f"{FORM}?host-1=on&port-1=3306")).text

    assert re.findall(r'name="port-(\d+)"[^>]* value="(\d+)" data-chosen', page) == [("1", "3306")]
