"""Pages that list task instances: search, operations on selected ones, the page of a host."""

import html
import re
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from starlette.applications import Starlette

from service.access import audit
from service.access.roles import Role
from service.model.tasks import TaskStatus
from service.model.workflow import TAKEOVER
from service.pages import tasks as pages_tasks
from service.pages.selection import PAGE_SIZES
from service.store.database import execute, fetch
from service.tasks import instances
from service.tasks.resources import Resources
from tests.integration import sample_tasks
from tests.integration.page_sessions import form_token, logged_in
from tests.integration.test_discoveries import FOUND


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


async def failed(resources: Resources, host_id: int) -> int:
    """Make a failed task instance."""
    task_id = await sample_tasks.take_over(resources, host_id)
    await sample_tasks.advance(resources, task_id, [], resources.workflows[TAKEOVER].roles[0], "It is full.")
    return task_id


async def status(resources: Resources, task_id: int) -> TaskStatus:
    """Return the status of a task instance."""
    return (await instances.get(resources.database, task_id))[0].status


@pytest.mark.parametrize(
    ("query", "hosts"),
    [
        ("hostName=ODP-1", {1}),
        ("hostName=odp", {1, 2}),
        ("hostName=nothing", set()),
        ("obproxyCluster=tes", {1, 2}),
        ("obproxyCluster=other", set()),
        ("creator=adm", {1, 2}),
        ("creator=otto", set()),
        ("startAfter=2020-01-01T00:00:00Z&startBefore=2199-01-01T00:00:00%2B08:00", {1, 2}),
        ("startAfter=2199-01-01T00:00:00Z", set()),
        ("startBefore=2020-01-01T00:00:00Z", set()),
        ("hostName=odp-2&status=FAILED", {2}),
        ("hostName=odp-1&status=FAILED", set()),
    ],
)
async def test_the_list_is_searched(
    browser: httpx.AsyncClient, resources: Resources, query: str, hosts: set[int]
) -> None:
    await sample_tasks.take_over(resources, 1)
    await failed(resources, 2)

    page = (await browser.get(f"/tasks?{query}")).text
    listed = (await browser.get(f"/api/v2/tasks/instances?{query}")).json()["data"]

    assert {int(number) for number in re.findall(r'href="/hosts/(\d+)"', page)} == hosts
    assert {task["hostName"] for task in listed["contents"]} == {f"odp-{host}" for host in hosts}
    assert listed["page"]["totalElements"] == len(hosts)
    assert ("No matching task." in page) == (not hosts)


@pytest.mark.parametrize("moment", ["yesterday", "2026-11-29T10:00:00", "1999-01-01T00:00:00Z"])
async def test_a_time_must_be_complete(browser: httpx.AsyncClient, moment: str) -> None:
    answer = await browser.get(f"/api/v2/tasks/instances?startAfter={moment}")

    assert answer.status_code == 400 and answer.json()["error"]["subErrors"][0]["field"] == "startAfter"


@pytest.mark.parametrize("address", ["/tasks", "/requests"])
async def test_only_the_script_shows_fields_that_need_it(browser: httpx.AsyncClient, address: str) -> None:
    page = (await browser.get(address)).text

    assert page.count('<label class="time-field" hidden>') == page.count('type="datetime-local"') == 2


async def test_selected_tasks_are_retried(browser: httpx.AsyncClient, resources: Resources) -> None:
    tasks = [await failed(resources, host) for host in (1, 2)]

    answer = await browser.post(
        "/tasks/selected/retry?status=FAILED&page=1&done=cancel",
        data={"form_token": await form_token(browser), "confirmed": "yes", "tasks": ",".join(map(str, tasks))},
    )

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/tasks?status=FAILED&page=1&done=retry-")
    assert [await status(resources, task) for task in tasks] == [TaskStatus.RUNNING] * 2
    assert "Retry submitted." in (await browser.get(answer.headers["location"])).text


async def test_an_invalid_filter_keeps_an_operation_from_being_executed(
    browser: httpx.AsyncClient, resources: Resources
) -> None:
    task = await failed(resources, 1)
    data = {"form_token": await form_token(browser), "confirmed": "yes", "tasks": str(task)}

    answer = await browser.post("/tasks/selected/retry?status=NONE", data=data)

    assert answer.status_code == 400
    assert await status(resources, task) is TaskStatus.FAILED


@pytest.mark.parametrize(("tasks", "count"), [("", 0), (",".join(map(str, range(1, 502))), 501)], ids=["none", "many"])
async def test_a_selection_has_the_tasks_of_one_page(
    browser: httpx.AsyncClient, resources: Resources, tasks: str, count: int
) -> None:
    first = await failed(resources, 1)
    data = {"form_token": await form_token(browser), "confirmed": "yes", "tasks": tasks}

    answer = await browser.post("/tasks/selected/retry", data=data)

    assert answer.status_code == 400 and f"tasks must have 1 to {PAGE_SIZES[-1]} ids; it has {count}." in answer.text
    assert await status(resources, first) is TaskStatus.FAILED


async def test_selected_tasks_that_allow_it_are_rolled_back(browser: httpx.AsyncClient, resources: Resources) -> None:
    fine, queued = await failed(resources, 1), await sample_tasks.take_over(resources, 2)

    data = {"form_token": await form_token(browser), "confirmed": "yes", "tasks": f"{fine},{queued},9999"}
    page = (await browser.post("/tasks/selected/rollback", data=data)).text

    assert await status(resources, fine) is TaskStatus.RUNNING
    assert "Accepted by 1 task. 2 tasks do not allow this operation:" in page
    assert f'<a href="/tasks/{queued}">odp-2</a>' in page and '<a href="/tasks/9999">9999</a>' in page


async def test_the_audit_has_each_selected_task_with_its_outcome(
    browser: httpx.AsyncClient, resources: Resources
) -> None:
    fine, queued = await failed(resources, 1), await sample_tasks.take_over(resources, 2)

    data = {"form_token": await form_token(browser), "confirmed": "yes", "tasks": f"{fine},{queued},9999"}
    await browser.post("/tasks/selected/rollback", data=data)

    *parts, whole = (await browser.get("/api/v2/audit/events?size=4")).json()["data"]["contents"]
    assert [(event["method"], event["path"], event["status"]) for event in (whole, *parts[::-1])] == [
        ("POST", "/tasks/selected/rollback", 200),
        ("POST", f"/tasks/{fine}/rollback", 200),
        ("POST", f"/tasks/{queued}/rollback", 400),
        ("POST", "/tasks/9999/rollback", 404),
    ]
    assert {(event["userName"], event["client"], event["traceId"]) for event in parts} == {
        (whole["userName"], whole["client"], whole["traceId"])
    }


async def test_selected_tasks_are_not_changed_without_an_audit_of_each(
    browser: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await failed(resources, 1)
    data = {"form_token": await form_token(browser), "confirmed": "yes", "tasks": str(task)}

    async def fail(*_: object) -> int:
        raise psycopg.errors.DiskFull("planted")

    monkeypatch.setattr(audit, "begin_all", fail)
    answer = await browser.post("/tasks/selected/retry", data=data)

    assert answer.status_code == 503
    assert await status(resources, task) is TaskStatus.FAILED


async def test_a_fault_in_an_operation_on_selected_tasks_is_in_the_audit_of_each(
    browser: httpx.AsyncClient, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await failed(resources, 1)
    data = {"form_token": await form_token(browser), "confirmed": "yes", "tasks": str(task)}

    async def fail(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setitem(pages_tasks.OPERATIONS, "retry", fail)
    answer = await browser.post("/tasks/selected/retry", data=data)

    events = (await browser.get("/api/v2/audit/events?size=2")).json()["data"]["contents"]
    assert answer.status_code == 500
    assert [(event["path"], event["status"]) for event in events] == [
        (f"/tasks/{task}/retry", 500),
        ("/tasks/selected/retry", 500),
    ]


async def test_a_rejected_operation_keeps_the_filter_and_the_selection(
    browser: httpx.AsyncClient, resources: Resources
) -> None:
    first, second = [await failed(resources, host) for host in (1, 2)]
    other = await sample_tasks.take_over(resources, 1)  # supersedes the first one
    page = (await browser.get("/tasks?hostName=odp-&size=20&page=1&done=retry")).text
    action = re.search(r'action="(/tasks/selected/rollback[^"]*)"', page)
    assert action

    data = {"form_token": await form_token(browser), "confirmed": "yes", "tasks": f"{first},{second}"}
    page = (await browser.post(html.unescape(action[1]), data=data)).text

    address = "/tasks?hostName=odp-&amp;size=20&amp;page=1"
    assert "1 task does not allow this operation:" in page
    assert f'data-canonical-address="{address}"' in page and f'href="{address}" title="Reload"' in page
    assert f'action="{address.replace("/tasks", "/tasks/selected/rollback")}"' in page
    assert 'name="hostName" value="odp-"' in page and '<input type="hidden" name="size" value="20">' in page
    assert re.findall(r'id="select-(\d+)"[^>]* value="\d+" checked', page) == [str(second), str(first)]
    assert f'value="{other}" aria-label' in page


async def test_selected_tasks_are_canceled(browser: httpx.AsyncClient, resources: Resources) -> None:
    queued = await sample_tasks.take_over(resources, 1)

    data = {"form_token": await form_token(browser), "confirmed": "yes", "tasks": str(queued)}
    answer = await browser.post("/tasks/selected/cancel", data=data)

    assert answer.status_code == 303 and answer.headers["location"].startswith("/tasks?done=cancel-")
    assert await status(resources, queued) is TaskStatus.FAILED
    assert (await browser.post("/tasks/selected/skip", data=data)).status_code == 404


async def test_a_host_has_a_page_with_its_history(browser: httpx.AsyncClient, resources: Resources) -> None:
    older = await failed(resources, 1)
    newer = await failed(resources, 1)
    other = await failed(resources, 2)

    page = (await browser.get("/hosts/1")).text

    assert "<title>odp-1 · Host · OBProxy Takeover</title>" in page
    assert "2 entries" in page and f'href="/tasks/{other}"' not in page
    assert page.index(f'href="/tasks/{newer}"') < page.index(f'href="/tasks/{older}"')
    assert "To be taken over" in page and 'href="/clusters/1"' in page
    for address in ("/hosts/1?page=9", "/tasks?page=9"):
        assert "No takeovers yet." not in (await browser.get(address)).text, address
    assert (await browser.get("/hosts/999")).status_code == 404
    assert 'href="/hosts/1"' in (await browser.get(f"/tasks/{older}")).text


async def test_a_rejected_operation_on_the_history_of_a_host_keeps_the_selection(
    browser: httpx.AsyncClient, resources: Resources
) -> None:
    oldest, *_ = [await failed(resources, 1) for _ in range(PAGE_SIZES[0] + 1)]
    page = (await browser.get("/hosts/1?page=2")).text
    action = re.search(r'action="(/tasks/selected/rollback[^"]*)"', page)
    assert action

    data = {"form_token": await form_token(browser), "confirmed": "yes", "tasks": str(oldest)}
    page = (await browser.post(html.unescape(action[1]), data=data)).text

    assert "1 task does not allow this operation:" in page
    assert re.findall(r'value="(\d+)" checked', page) == [str(oldest)]


async def test_a_host_shows_its_last_discovery(browser: httpx.AsyncClient, resources: Resources) -> None:
    assert 'id="discovery"' not in (await browser.get("/hosts/1")).text
    rule = {"rule": "Exactly one OBProxy runs.", "found": "2 of them.", "fix": "stop one."}
    found = FOUND | {"sql_port": 2899, "version": "4.3.9.9", "owner": "otto", "rules": [rule]}
    async with resources.database.transaction() as connection:
        await execute(connection, "request_host_discoveries", host_ids=[1], requester="admin")
        (row,) = await fetch(connection, "database_time")
        result = {"outcome": "DISCOVERED", "message": None, "rules": Jsonb([]), "obproxies": Jsonb([found])}
        await execute(connection, "record_host_discovery", host_id=1, start_time=row["moment"], **result)

    page = (await browser.get("/hosts/1")).text
    chinese = (await browser.get("/hosts/1", headers={"accept-language": "zh"})).text

    assert all(text in page for text in ("Last discovery", "2899", "4.3.9.9", "otto", "2 of them.", " ago</span>"))
    assert 'id="servers"' in page
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE user_account SET roles = %s WHERE name = 'anne'", ([Role.TASK_VIEWER],))
    for_tasks = (await browser.get("/hosts/1")).text
    assert not re.findall('id="(?:servers|discovery)"', for_tasks), "they need OBPROXY:*:READ"
    assert "最近一次探测" in chinese and "前</span>" in chinese


async def test_a_host_without_inventory_keeps_its_history(browser: httpx.AsyncClient, resources: Resources) -> None:
    task_id = await failed(resources, 1)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE task_instance SET host_id = 77, host_name = 'gone' WHERE id = %s", (task_id,))

    page = (await browser.get("/hosts/77")).text

    assert "The host is no longer in the inventory." in page and "<h1>gone</h1>" in page
