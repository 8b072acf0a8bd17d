"""Page of one task instance: content, operations, errors."""

import html
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from starlette.applications import Starlette

from service.access import users
from service.access.roles import Role
from service.model.changes import HostChange
from service.model.tasks import SubtaskStatus, TaskStatus
from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Changed, Logged, Started
from service.pages.remedies import Remedy, takeover_address
from service.tasks import instances, operations
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from tests.integration import sample_tasks
from tests.integration.page_sessions import PAGE, form_token, log_in, logged_in

MARKUP = "<script>alert(1)</script><b>&amp;"


@pytest.fixture
async def browser(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Open a browser in which a task manager is logged in."""
    async with logged_in(app, Role.TASK_MANAGER) as http:
        yield http


@pytest.fixture
def resources(app: Starlette) -> Resources:
    """Return the resources of the application."""
    found: Resources = app.state.resources
    return found


async def failed_at(resources: Resources, position: int, message: str = "The disk is full.") -> int:
    """Make a task instance that has failed at the subtask of this position, from 0."""
    roles = resources.workflows[TAKEOVER].roles
    task_id = await sample_tasks.take_over(resources, 1)
    await sample_tasks.advance(resources, task_id, roles[:position], roles[position], message)
    return task_id


async def status_of(resources: Resources, task_id: int) -> TaskStatus:
    task, _ = await instances.get(resources.database, task_id)
    return task.status


async def test_a_failure_is_shown_with_its_message(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await failed_at(resources, 6)
    ids = await sample_tasks.subtask_ids(resources, task_id)

    page = (await browser.get(f"/tasks/{task_id}")).text

    assert f'data-subtask="{ids[6]}"' in page
    assert "Failed at “Sync obproxy parameter”" in page
    assert "TASK_FAILED: The disk is full." in page
    assert [page.count(f'status-{status}"') > 0 for status in ("SUCCESSFUL", "FAILED", "PENDING")] == [True] * 3
    assert "6/12" in page


async def test_a_failed_rule_is_shown_in_three_labelled_parts(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await failed_at(resources, 6, sample_tasks.FAILED_RULES)

    english = (await browser.get(f"/tasks/{task_id}")).text
    chinese = (await browser.get(f"/tasks/{task_id}", headers={"Accept-Language": "zh-CN"})).text

    parts = re.findall(
        r"<dt>(.*?)</dt><dd>(.*?)</dd>", english[english.index("failed-rule") : english.index("</div>\n<dl")]
    )
    assert [label for label, _ in parts] == ["Rule", "Found", "Fix"] * 2
    assert parts[4:] == [
        ("Found", "/home/admin has 12 MiB free."),
        ("Fix", "free at least 64 MiB; on a full disk OBProxy rejects ALTER."),
    ]
    assert re.findall(r"<dt>(规则|检查结果|修复建议)</dt>", chinese) == ["规则", "检查结果", "修复建议"] * 2
    assert "role sync_obproxy_parameter, host odp-8" in english


async def test_the_page_offers_the_legal_operations(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await failed_at(resources, 2)
    ids = await sample_tasks.subtask_ids(resources, task_id)
    actions = re.compile(rf'action="/tasks/{task_id}/((?:subtasks/\d+/)?\w+)"')

    failed = set(actions.findall((await browser.get(f"/tasks/{task_id}")).text))
    await operations.retry_task(resources, task_id)
    ready = set(actions.findall((await browser.get(f"/tasks/{task_id}")).text))
    roles = resources.workflows[TAKEOVER].roles
    await sample_tasks.advance(resources, task_id, [], running=roles[2])
    running = set(actions.findall((await browser.get(f"/tasks/{task_id}")).text))

    assert failed == {"retry", "rollback", f"subtasks/{ids[2]}/retry", f"subtasks/{ids[2]}/skip"}
    assert ready == set()
    assert running == {f"subtasks/{ids[2]}/cancel"}


@pytest.mark.parametrize("operation", ["retry", "rollback"])
async def test_a_task_operation_is_executed_and_confirmed(
    browser: httpx.AsyncClient, resources: Resources, operation: str
) -> None:
    task_id = await failed_at(resources, 2)

    answer = await browser.post(
        f"/tasks/{task_id}/{operation}", data={"form_token": await form_token(browser), "confirmed": "yes"}
    )
    page = await browser.get(answer.headers["location"])

    assert answer.status_code == 303 and answer.headers["location"].startswith(f"/tasks/{task_id}?done={operation}-")
    assert {"retry": "Retry submitted.", "rollback": "Rollback submitted."}[operation] in page.text
    assert await status_of(resources, task_id) is TaskStatus.RUNNING


@pytest.mark.parametrize("operation", ["retry", "skip"])
async def test_a_subtask_operation_is_executed(
    browser: httpx.AsyncClient, resources: Resources, operation: str
) -> None:
    task_id = await failed_at(resources, 2)
    subtask = (await sample_tasks.subtask_ids(resources, task_id))[2]
    token = await form_token(browser)

    answer = await browser.post(
        f"/tasks/{task_id}/subtasks/{subtask}/{operation}", data={"form_token": token, "confirmed": "yes"}
    )

    assert answer.status_code == 303
    assert await status_of(resources, task_id) is TaskStatus.RUNNING


async def test_a_subtask_that_is_being_canceled_has_its_own_status(
    browser: httpx.AsyncClient, resources: Resources
) -> None:
    roles = resources.workflows[TAKEOVER].roles
    task_id = await sample_tasks.take_over(resources, 1)
    await sample_tasks.advance(resources, task_id, [], running=roles[0])
    subtask = (await sample_tasks.subtask_ids(resources, task_id))[0]
    token = await form_token(browser)

    await browser.post(f"/tasks/{task_id}/subtasks/{subtask}/cancel", data={"form_token": token, "confirmed": "yes"})
    page = (await browser.get(f"/tasks/{task_id}")).text

    _, subtasks = await instances.get(resources.database, task_id)
    assert subtasks[0].status is SubtaskStatus.CANCELING
    assert "Canceling" in page


async def test_a_rejected_operation_is_shown_on_the_page(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await sample_tasks.take_over(resources, 1)

    answer = await browser.post(
        f"/tasks/{task_id}/retry", data={"form_token": await form_token(browser), "confirmed": "yes"}
    )

    assert answer.status_code == 400
    assert f"Task instance {task_id} is RUNNING; RETRY needs it to be FAILED." in answer.text
    assert f'data-canonical-address="/tasks/{task_id}"' in answer.text


async def test_an_unknown_task_or_subtask_is_not_found(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await failed_at(resources, 2)
    token = await form_token(browser)

    for method, path in (
        ("GET", "/tasks/999"),
        ("GET", f"/tasks/{task_id}?subtask=999"),
        ("GET", f"/tasks/{task_id}/subtasks/999/lines"),
        ("GET", f"/tasks/{task_id}/subtasks/999/log"),
        ("POST", "/tasks/999/retry"),
        ("POST", f"/tasks/{task_id}/skip"),
        ("POST", f"/tasks/{task_id}/subtasks/999/skip"),
        ("POST", f"/tasks/{task_id}/subtasks/999/rollback"),
    ):
        answer = await browser.request(
            method, path, data={"form_token": token, "confirmed": "yes"} if method == "POST" else None
        )
        assert answer.status_code == 404, path
    assert (await browser.get(f"/tasks/{task_id}?view=other")).status_code == 400
    assert (await browser.get("/tasks/x")).status_code == 400


async def test_a_viewer_gets_no_buttons(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await failed_at(resources, 2)
    await users.add(resources.database, "vera", "long enough", [Role.TASK_VIEWER])
    await log_in(browser, "long enough", name="vera")
    token = await form_token(browser)

    page = (await browser.get(f"/tasks/{task_id}")).text
    tried = await browser.post(f"/tasks/{task_id}/retry", data={"form_token": token, "confirmed": "yes"})

    assert 'action="/tasks/' not in page
    assert "downloadDiagnosis" in page
    assert tried.status_code == 403
    assert await status_of(resources, task_id) is TaskStatus.FAILED


async def test_the_flow_is_drawn_for_every_width(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await failed_at(resources, 2)

    page = (await browser.get(f"/tasks/{task_id}?view=flow")).text

    assert page.count('<svg class="drawing') == 3
    assert page.count('class="edge ') == 3 * 11
    assert page.count('class="box ') == 3 * 12
    assert page.count('selected"') == 3


async def test_executions_are_listed_separately_newest_first(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await failed_at(resources, 2, "first")
    subtask = (await sample_tasks.subtask_ids(resources, task_id))[2]
    roles = resources.workflows[TAKEOVER].roles
    for number in range(4):
        await operations.retry_task(resources, task_id)
        await sample_tasks.advance(resources, task_id, [], roles[2], f"again {number}")
    attempts = await instances.executions(resources.database, subtask)

    page = (await browser.get(f"/tasks/{task_id}")).text
    said = []
    for attempt in attempts:
        query = f"after={attempt.after}" + (f"&until={attempt.until}" if attempt.until else "")
        rows = (await browser.get(f"/tasks/{task_id}/subtasks/{subtask}/lines?{query}")).json()["rows"]
        said.append("\n".join(text for _, text in rows))

    assert [attempt.operation for attempt in attempts] == ["RETRY"] * 4 + ["EXECUTE"]
    assert "2 older" in page and "\u00d75" in page
    for text, message in zip(said, ["again 3", "again 2", "again 1", "again 0", "first"], strict=True):
        assert re.findall("again \\d|first", text) == [message]
    whole = (await browser.get(f"/tasks/{task_id}/subtasks/{subtask}/log")).text
    assert whole.rstrip("\n") == "\n".join(reversed(said))


async def test_log_lines_are_paged_without_a_gap(
    browser: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.pages.task.LINES_LIMIT", 2)
    task_id = await failed_at(resources, 0)
    subtask = (await sample_tasks.subtask_ids(resources, task_id))[0]
    rows: list[list[object]] = []
    after, more = 0, True
    while more:
        piece = (await browser.get(f"/tasks/{task_id}/subtasks/{subtask}/lines?after={after}")).json()
        rows += piece["rows"]
        after, more = piece["next"], piece["more"]

    text, last = await instances.log(resources.database, task_id, subtask)
    assert "\n".join(str(content) for _, content in rows) == text
    assert after == last and len(rows) > 2


async def test_markup_from_a_host_is_escaped(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await failed_at(resources, 2, MARKUP)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE task_instance SET host_name = %s", [MARKUP])
        await connection.execute("UPDATE subtask_instance SET name = %s, description = %s", [MARKUP, MARKUP + "2"])

    pages = [await browser.get(path) for path in ("/tasks", f"/tasks/{task_id}", f"/tasks/{task_id}?view=flow")]

    for page in pages:
        assert page.status_code == 200
        assert "alert(1)" in page.text and "<script>alert" not in page.text


async def test_a_host_cannot_print_a_row_of_the_service(browser: httpx.AsyncClient, resources: Resources) -> None:
    role = resources.workflows[TAKEOVER].roles[0]
    task_id = await sample_tasks.take_over(resources, 1)
    rows = ["############{EXECUTE}{never}############", "############{RETRY}{2026-11-30T05:00:00Z}############"]
    printed = [Logged(role=role, text=row) for row in (*rows, "Set state for subtask: 1, operation: EXECUTE")]
    await Recorder(resources, task_id).record([Started(role=role), *printed])
    first, *_ = await sample_tasks.subtask_ids(resources, task_id)

    assert [one.operation for one in await instances.executions(resources.database, first)] == ["EXECUTE"]
    assert await instances.last_log_message(resources.database, first) == f" {printed[-1].text}"
    assert (await browser.get(f"/tasks/{task_id}")).status_code == 200


async def test_the_changes_on_the_host_are_beside_the_log(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await sample_tasks.take_over(resources, 1)
    role = resources.workflows[TAKEOVER].roles[0]
    changes = [
        HostChange(what="parameter", name="work_thread_num", before="4", after="8", needs_restart=True),
        HostChange(what="file", name="/etc/a", before=None, after=MARKUP),
    ]
    recorder = Recorder(resources, task_id)
    await recorder.record([Started(role=role), Changed(role=role, changes=changes)])

    english = (await browser.get(f"/tasks/{task_id}")).text
    chinese = (await browser.get(f"/tasks/{task_id}", headers={"Accept-Language": "zh-CN"})).text

    table = english[english.index('id="changes"') : english.index('id="log"')]
    cells = [re.sub("<.*?>", "", cell).strip() for cell in re.findall("<td.*?>(.*?)</td>", table)]
    assert cells[:5] == ["Parameter", "work_thread_num", "4", "8", "Yes"]
    assert cells[5:7] == ["File", "/etc/a"] and MARKUP not in english
    assert "主机上的变更" in chinese and "需要重启" in chinese
    others = (await sample_tasks.subtask_ids(resources, task_id))[1]
    assert "work_thread_num" not in (await browser.get(f"/tasks/{task_id}?subtask={others}")).text


async def test_a_rolled_back_task_instance_does_not_look_successful(
    browser: httpx.AsyncClient, resources: Resources
) -> None:
    task_id = await sample_tasks.take_over(resources, 1)
    roles = resources.workflows[TAKEOVER].roles
    await sample_tasks.advance(resources, task_id, roles[:1], roles[1], "It does not answer.")
    await operations.rollback_task(resources, task_id)
    await sample_tasks.advance(resources, task_id, [roles[1], roles[0]])

    page = (await browser.get(f"/tasks/{task_id}")).text
    assert page.count('class="badge status-ROLLED_BACK"') == 1 and "status-SUCCESSFUL" not in page
    assert '<li class="status-ROLLED_BACK' in page and '<li class="status-PENDING' in page
    assert "Rolled back" in (await browser.get("/tasks")).text


async def test_a_queued_task_instance_has_no_running_subtask(browser: httpx.AsyncClient, resources: Resources) -> None:
    first = await sample_tasks.take_over(resources, 1)
    page = (await browser.get(f"/tasks/{first}")).text

    assert 'class="badge status-QUEUED"' in page and "Waiting for a free worker." in page
    subtasks = page[page.index('id="subtasks"') : page.index('id="log-card"')]
    assert 'class="status-QUEUED' in subtasks and "duration" not in subtasks and "spinning" not in subtasks


PASSWORD_RULE = (
    "Rule: root@proxysys can log in with the given, the cluster's or the empty password. Found: OBProxy"
    " at 127.0.0.1:2883 answers: Access denied. Fix: take the OBProxy over again with its current password."
)


async def test_a_failed_rule_is_shown_in_chinese(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await failed_at(resources, 1, PASSWORD_RULE)

    page = (await browser.get(f"/tasks/{task_id}", headers={"Accept-Language": "zh-CN"})).text

    assert "<dt>规则</dt><dd>root@proxysys 可以用提供的密码、集群的密码或空密码登录</dd>" in page
    assert "OBProxy at 127.0.0.1:2883 answers: Access denied." in page


async def test_a_wrong_password_leads_to_the_form_first(app: Starlette, resources: Resources) -> None:
    await users.add(resources.database, "otto", "long enough", [Role.ADMIN])
    task_id = await failed_at(resources, 1, PASSWORD_RULE)
    other = await sample_tasks.take_over(resources, 2)
    roles = resources.workflows[TAKEOVER].roles
    await sample_tasks.advance(resources, other, [], roles[0], "The disk is full.")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", headers=PAGE) as admin:
        await log_in(admin, "long enough", "otto")
        page = (await admin.get(f"/tasks/{task_id}")).text
        link = re.search(r'class="button primary" id="take-over-again" href="([^"]+)"', page)
        assert link
        assert re.search(r'<button id="task-retry" type="submit" class="">', page)
        form = (await admin.get(html.unescape(link[1]))).text
        unfixable = (await admin.get(f"/tasks/{other}")).text

    assert re.search(r'name="host-1"[^>]* checked', form) and 'name="port-1"' in form
    assert re.search(r'name="port-1"[^>]* value="2883"', form)
    assert "take-over-again" not in unfixable and 'id="task-retry" type="submit" class="primary"' in unfixable


async def test_a_server_that_is_deleted_meanwhile_leaves_the_form_without_its_port(resources: Resources) -> None:
    task, _ = await instances.get(resources.database, await failed_at(resources, 0))
    gone = replace(task, obproxy_server_id=10**6)

    address = await takeover_address(resources.database, gone, Remedy.PASSWORD)

    assert address and "host-1=on" in address and "port-1" not in address
