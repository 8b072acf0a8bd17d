"""External runs: reports over HTTP become the document that a run of the service would have."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from service.model.wire import timestamp
from service.outcome.run_progress import Ended, Started, Verdict
from service.store.database import fetch
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from tests.integration.external_run_reports import ROLES, START, Body, run_report
from tests.integration.http_helpers import assert_failure, assert_sorted, count_rows, take_over

PATH = "/api/v2/obproxy/externalRuns"
TASKS = "/api/v2/tasks/instances"
TWELVE = 12


@pytest.fixture
def resources(app: Starlette) -> Resources:
    """Return the resources of the application."""
    opened: Resources = app.state.resources
    return opened


async def recorded(client: httpx.AsyncClient, body: Body) -> Body:
    """Report a run; return its document, which equals the one that is read afterwards."""
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    document: Body = answer.json()["data"]
    assert (await client.get(f"{TASKS}/{document['id']}")).json()["data"] == document
    return document


def each(document: Body, field: str) -> list[Any]:
    """Return a field of every subtask in DAG order."""
    return [subtask.get(field) for subtask in document["subtasks"]]


async def log(client: httpx.AsyncClient, document: Body, place: int) -> str:
    path = f"{TASKS}/{document['id']}/subtasks/{document['subtasks'][place]['id']}/log"
    text: str = (await client.get(path)).json()["data"]["log"]
    return text


async def server(resources: Resources, host_id: int = 1) -> Mapping[str, Any] | None:
    """Return the row of the OBProxy server on a host."""
    async with resources.database.transaction() as connection:
        rows = await fetch(connection, "lock_server_by_host_and_port", host_id=host_id, sql_port=2883)
    return rows[0] if rows else None


async def status_of_server(resources: Resources) -> str | None:
    row = await server(resources)
    return row["status"] if row else None


async def test_a_takeover_by_hand_is_an_ordinary_document(client: httpx.AsyncClient, resources: Resources) -> None:
    document = await recorded(client, run_report())

    assert_sorted(document)
    assert (document["status"], document["type"], document["operation"]) == ("SUCCESSFUL", "EXTERNAL", "EXECUTE")
    assert document["creator"] == {"id": 100, "name": "admin"}
    assert document["executor"] == "127.0.0.1"
    assert each(document, "status") == ["SUCCESSFUL"] * TWELVE
    assert each(document, "operation") == ["EXECUTE"] * TWELVE
    change = {"what": "parameter", "name": "a_level", "before": "***", "after": "b", "needsRestart": True}
    assert each(document, "changes") == [[change | {"operation": "EXECUTE", "runTime": 1}]] * TWELVE
    (ours,) = await take_over(client, 2)
    assert [s["name"] for s in ours["subtasks"]] == each(document, "name")
    row = await server(resources)
    assert row and (row["status"], row["operate_status"]) == ("RUNNING", "NORMAL")
    assert (row["version"], row["exporter_port"], row["learned"]["pid"]) == ("4.3.1.0-1", 2884, 7)
    assert "TASK [check_command : Do check_command]" in await log(client, document, 3)
    listed = (await client.get(f"{TASKS}?type=EXTERNAL")).json()["data"]["contents"]
    assert [task["id"] for task in listed] == [document["id"]]
    assert (await client.post(f"{TASKS}/{document['id']}/downloadDiagnosis")).content.startswith(b"PK")


async def test_times_are_those_of_the_run(client: httpx.AsyncClient) -> None:
    document = await recorded(client, run_report())

    moments = [START + timedelta(seconds=seconds) for seconds in range(1, TWELVE + 1)]
    starts, ends = [START, *moments[1:]], [*moments[1:], START + timedelta(seconds=60)]
    assert document["startTime"] == timestamp(START)
    assert document["finishTime"] == timestamp(START + timedelta(seconds=60))
    assert each(document, "startTime") == [timestamp(moment) for moment in starts]
    assert each(document, "finishTime") == [timestamp(moment) for moment in ends]
    assert (await log(client, document, 1)).startswith(f"############{{EXECUTE}}{{{timestamp(starts[1])}}}")


async def test_times_beyond_the_run_are_cut_to_it(client: httpx.AsyncClient) -> None:
    body = run_report()
    for event in body["events"]:
        event["created"] = "2031-01-01T00:00:00Z" if event["counter"] > 9 else "2001-01-01T00:00:00Z"

    document = await recorded(client, body)

    assert each(document, "startTime")[0] == document["startTime"]
    assert set(each(document, "finishTime")) == {document["startTime"], document["finishTime"]}


async def test_a_failure_is_at_its_subtask_with_its_reason_and_without_secrets(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    document = await recorded(client, run_report(failing="check_command"))

    assert document["status"] == "FAILED"
    assert each(document, "status") == ["SUCCESSFUL"] * 3 + ["FAILED"] + ["PENDING"] * 8
    text = await log(client, document, 3)
    assert 'TASK_FAILED: nc is missing; the password is *** (Ansible task "Do check_command"' in text
    assert await status_of_server(resources) == "TAKINGOVER"


async def test_an_interrupted_run_is_reported(client: httpx.AsyncClient) -> None:
    body = run_report(rc=None)
    del body["events"][6:]

    document = await recorded(client, body)

    assert each(document, "status") == ["SUCCESSFUL", "FAILED"] + ["PENDING"] * 10
    assert "INTERRUPTED" in await log(client, document, 1)


async def test_a_run_without_any_event_fails_at_its_first_subtask(client: httpx.AsyncClient) -> None:
    document = await recorded(client, run_report(events=[], rc=4))

    assert each(document, "status") == ["FAILED"] + ["PENDING"] * 11
    assert "NOT_STARTED" in await log(client, document, 0)


@pytest.mark.parametrize("role", [ROLES[0], ROLES[6], ROLES[-1]])
async def test_roles_excluded_by_tags_are_skipped_and_make_nothing_managed(
    client: httpx.AsyncClient, resources: Resources, role: str
) -> None:
    document = await recorded(client, run_report([role]))

    assert document["status"] == "SUCCESSFUL"
    assert each(document, "status") == ["SUCCESSFUL"] * TWELVE
    operations = dict(zip(ROLES, each(document, "operation"), strict=True))
    assert operations.pop(role) == "EXECUTE"
    assert set(operations.values()) == {"SKIP"}
    assert "did not select this subtask" in await log(client, document, 3)
    assert await server(resources) is None


async def test_some_roles_do_not_finish_the_takeover_that_another_run_began(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    await recorded(client, run_report(failing="check_command"))
    await recorded(client, run_report(ROLES[3:]))
    assert await status_of_server(resources) == "TAKINGOVER"

    await recorded(client, run_report())
    assert await status_of_server(resources) == "RUNNING"


async def test_a_managed_server_stays_managed_and_gets_new_facts(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    await recorded(client, run_report())
    before = await server(resources)

    await recorded(client, run_report(failing="check_command"))
    assert await status_of_server(resources) == "RUNNING"
    await recorded(client, run_report(["sync_obproxy_parameter"]))
    assert await status_of_server(resources) == "RUNNING"
    await recorded(client, run_report())
    after = await server(resources)
    assert before and after and after["id"] == before["id"]
    assert after["last_active_time"] > before["last_active_time"]


async def test_a_rollback_goes_backward_and_ends_the_management(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    await recorded(client, run_report())

    document = await recorded(client, run_report(playbook="rollback"))

    assert (document["status"], document["operation"]) == ("SUCCESSFUL", "ROLLBACK")
    assert each(document, "status") == ["PENDING"] * TWELVE
    starts = [datetime.fromisoformat(start) for start in each(document, "startTime")]
    assert starts == sorted(starts, reverse=True)
    assert await server(resources) is None


async def test_an_exporter_that_is_unregistered_is_no_target(client: httpx.AsyncClient, resources: Resources) -> None:
    await recorded(client, run_report())
    assert len((await client.get("/api/v2/obproxy/exporters")).json()) == 1

    await recorded(client, run_report([ROLES[9]], playbook="rollback", server={"exporter_port": None}))

    assert (await client.get("/api/v2/obproxy/exporters")).json() == []
    assert await status_of_server(resources) == "RUNNING"


async def test_a_rollback_that_fails_leaves_the_rest_as_it_is(client: httpx.AsyncClient, resources: Resources) -> None:
    await recorded(client, run_report())

    document = await recorded(client, run_report(playbook="rollback", failing="install_rpm"))

    assert document["status"] == "FAILED"
    assert each(document, "status") == ["SUCCESSFUL"] * 4 + ["FAILED"] + ["PENDING"] * 7
    assert await status_of_server(resources) == "RUNNING"


async def test_a_rollback_of_some_roles_is_of_those_alone(client: httpx.AsyncClient, resources: Resources) -> None:
    await recorded(client, run_report())

    document = await recorded(client, run_report([ROLES[6], ROLES[9]], playbook="rollback"))

    assert document["status"] == "SUCCESSFUL"
    assert each(document, "status") == ["PENDING"] * TWELVE
    ran = [subtask["seriesId"] for subtask in document["subtasks"] if "startTime" in subtask]
    assert len(ran) == 2
    assert await status_of_server(resources) == "RUNNING"


async def test_a_rollback_of_an_unmanaged_server_is_recorded(client: httpx.AsyncClient, resources: Resources) -> None:
    document = await recorded(client, run_report(playbook="rollback"))

    assert document["status"] == "SUCCESSFUL"
    assert await server(resources) is None


async def test_a_repeated_report_gets_the_same_response(client: httpx.AsyncClient, resources: Resources) -> None:
    body = run_report()
    document = await recorded(client, body)
    rows = await count_rows(resources)

    answers = await asyncio.gather(*(client.post(PATH, json=body) for _ in range(3)))

    assert [answer.json()["data"] for answer in answers] == [document] * 3
    assert await count_rows(resources) == rows


async def test_simultaneous_reports_of_one_run_are_recorded_once(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    body = run_report()

    answers = await asyncio.gather(*(client.post(PATH, json=body) for _ in range(5)))

    assert len({answer.json()["data"]["id"] for answer in answers}) == 1
    assert (await count_rows(resources))["task_instance"] == 1


async def test_the_run_of_another_host_is_not_this_one(client: httpx.AsyncClient) -> None:
    body = run_report()
    document = await recorded(client, body)

    answer = await client.post(PATH, json=body | {"hostId": 2})

    assert answer.status_code == 409
    assert f"task instance {document['id']} of host 1" in assert_failure(answer).error.message


@pytest.mark.parametrize(("roles", "failing"), [(ROLES, None), (ROLES, "check_command"), (ROLES[3:5], "check_command")])
async def test_it_has_no_legal_operations(client: httpx.AsyncClient, roles: list[str], failing: str | None) -> None:
    document = await recorded(client, run_report(roles, failing=failing))

    assert document["operations"] == []
    assert each(document, "operations") == [[]] * TWELVE
    task, subtask = f"{TASKS}/{document['id']}", f"subtasks/{document['subtasks'][3]['id']}"
    for path in ("retry", "rollback", f"{subtask}/retry", f"{subtask}/skip", f"{subtask}/cancel"):
        answer = await client.post(f"{task}/{path}")
        error = assert_failure(answer).error
        assert (answer.status_code, error.code) == (400, 4007), path
        assert error.message.startswith(f"Task instance {document['id']} records an external run.")
    assert (await client.get(task)).json()["data"] == document


async def test_a_rollback_by_hand_ends_the_operations_of_an_earlier_failure(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    (task,) = await take_over(client, 1)
    broken = Ended(role=ROLES[0], verdict=Verdict.FAILED, code="TASK_FAILED", message="broken")
    await Recorder(resources, task["id"]).record([Started(role=ROLES[0]), broken])
    await recorded(client, run_report(playbook="rollback"))

    detail = (await client.get(f"{TASKS}/{task['id']}")).json()["data"]

    assert (detail["status"], detail["operations"], each(detail, "operations")) == ("FAILED", [], [[]] * TWELVE)
    for path in ("retry", "rollback", f"subtasks/{task['subtasks'][0]['id']}/retry"):
        answer = await client.post(f"{TASKS}/{task['id']}/{path}")
        error = assert_failure(answer).error
        assert (answer.status_code, error.code) == (400, 4007)
        assert "is superseded: use task instance" in error.message
    assert len(await take_over(client, 1)) == 1


async def test_the_next_takeover_of_the_service_is_free_to_start(client: httpx.AsyncClient) -> None:
    await recorded(client, run_report(failing="check_command"))

    (task,) = await take_over(client, 1)

    assert task["status"] == "RUNNING"


async def rejected(client: httpx.AsyncClient, resources: Resources, body: Body) -> tuple[int, int, str]:
    """Status, code and message; nothing was written."""
    before = await count_rows(resources)
    answer = await client.post(PATH, json=body)
    assert await count_rows(resources) == before
    error = assert_failure(answer).error
    return answer.status_code, error.code, error.message


async def test_a_host_with_a_running_task_instance_is_rejected(client: httpx.AsyncClient, resources: Resources) -> None:
    (running,) = await take_over(client, 1)

    expected = (409, 1005, f"Host 1 already has a running task instance: {running['id']}.")
    assert await rejected(client, resources, run_report()) == expected
    assert await rejected(client, resources, run_report(["check_command"])) == expected


async def test_a_server_of_another_cluster_is_rejected(client: httpx.AsyncClient, resources: Resources) -> None:
    await recorded(client, run_report())

    status, code, message = await rejected(client, resources, run_report(clusterId=7))

    assert (status, code) == (409, 1005)
    assert "already managed" in message


WRONG: list[tuple[Body, tuple[int, int, str]]] = [
    ({"clusterId": 5}, (404, 21001, "OBProxy cluster 5 does not exist in the inventory.")),
    ({"hostId": 99}, (404, 7005, "Host 99 does not exist in the inventory.")),
    ({"roles": ["finish", "dig"]}, (400, 0, "There is no role dig.")),
    ({"roles": []}, (400, 0, "roles must not be empty.")),
    ({"roles": None}, (400, 0, "roles is required.")),
    ({"uuid": "7"}, (400, 0, 'uuid must be a UUID; it is "7".')),
    ({"hostName": ""}, (400, 0, "hostName must not be empty.")),
    ({"sqlPort": 0}, (400, 0, "sqlPort must be at least 1; it is 0.")),
    ({"playbook": "x"}, (400, 0, "There is no playbook x.")),
    ({"rc": 300}, (400, 0, "rc must be at most 255; it is 300.")),
    ({"rc": "0"}, (400, 0, 'rc must be an integer; it is "0".')),
    ({"startTime": "today"}, (400, 0, 'startTime must be a time in ISO 8601; it is "today".')),
    (
        {"startTime": "2026-01-01T00:00:00"},
        (400, 0, 'startTime must have an offset from UTC; it is "2026-01-01T00:00:00".'),
    ),
    (
        {"finishTime": "2026-01-01T00:00:00Z"},
        (400, 0, 'finishTime must not be before startTime; it is "2026-01-01T00:00:00Z".'),
    ),
    ({"events": [7]}, (400, 0, "events[0] must be an object; it is 7.")),
    ({"events": [{}]}, (400, 0, "events[0].event is required.")),
]


async def test_invalid_fields_are_named(
    client: httpx.AsyncClient, resources: Resources, subtests: pytest.Subtests
) -> None:
    for changed, expected in WRONG:
        with subtests.test(str(changed)):
            body = {name: value for name, value in (run_report() | changed).items() if value is not None}
            assert await rejected(client, resources, body) == expected


async def test_years_out_of_range_are_rejected(client: httpx.AsyncClient, resources: Resources) -> None:
    for year in ("0001", "1999", "2300", "9999"):
        body = run_report(startTime=f"{year}-01-01T00:00:00Z", finishTime=f"{year}-01-01T00:00:00Z")
        assert (await rejected(client, resources, body))[0] == 400


async def test_nonsense_in_events_never_breaks_it(client: httpx.AsyncClient) -> None:
    nonsense: list[Any] = [
        {"host": "odp-by-hand", "role": ["finish"], "res": "text"},
        {"host": "odp-by-hand", "role": "finish", "res": {"obproxy_server": {"pid": "x\x00", "version": 4}}},
        {"host": 7, "res": {"msg": "\x00\x1b[31m", "rc": float(2**80), "results": [None]}},
        {"processed": 1, "failures": [], "dark": None},
        {},
    ]
    kinds = [
        "runner_on_ok",
        "runner_on_failed",
        "playbook_on_stats",
        "playbook_on_task_start",
        "x",
        "runner_item_on_failed",
    ]
    moment = START.isoformat()
    every = [(kind, data) for kind in kinds for data in nonsense]
    events = [
        {"event": kind, "counter": counter, "created": moment, "stdout": "\x00a\x1b]b", "eventData": data}
        for counter, (kind, data) in enumerate(every, 1)
    ]

    document = await recorded(client, run_report(events=events))

    assert document["status"] == "FAILED"


@pytest.mark.parametrize(("playbook", "remains"), [("refresh", True), ("restart", True), ("release", False)])
async def test_workflows_of_managed_servers_by_hand_are_recorded(
    client: httpx.AsyncClient, resources: Resources, playbook: str, remains: bool
) -> None:
    taken = await recorded(client, run_report())
    workflow = resources.workflows[playbook]

    document = await recorded(client, run_report(workflow.roles, playbook=playbook))

    assert (document["name"], document["status"]) == (workflow.task_name, "SUCCESSFUL")
    assert document["id"] != taken["id"]
    assert await status_of_server(resources) == ("RUNNING" if remains else None)


@pytest.mark.parametrize("playbook", ["refresh", "restart", "release"])
async def test_a_failed_workflow_by_hand_leaves_the_server_managed(
    client: httpx.AsyncClient, resources: Resources, playbook: str
) -> None:
    await recorded(client, run_report())
    roles = resources.workflows[playbook].roles

    document = await recorded(client, run_report(roles, playbook=playbook, failing=roles[1]))

    assert document["status"] == "FAILED"
    assert await status_of_server(resources) == "RUNNING"
