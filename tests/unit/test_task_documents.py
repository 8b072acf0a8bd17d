"""JSON documents of task instances: order of properties, null values, timestamps."""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from service.model import wire
from service.model.states import TaskState
from service.model.tasks import SubtaskStatus, TaskStatus
from service.tasks import documents
from service.tasks.waiting import Blocker, Progress
from tests.unit.records import MOMENT, subtask, task

WAITING = Progress(state=TaskState.WAITING, waits_for=[])
MAPS = ("stringMap", "listMap")  # not sorted by OCP either


@pytest.fixture
def shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("microsecond", "expected"),
    [
        (4_000, "2021-09-03T16:25:08.004+08:00"),
        (530_000, "2021-09-03T16:25:08.53+08:00"),
        (500_000, "2021-09-03T16:25:08.5+08:00"),
        (0, "2021-09-03T16:25:08+08:00"),
        (999, "2021-09-03T16:25:08+08:00"),
    ],
)
@pytest.mark.usefixtures("shanghai")
def test_timestamps_drop_trailing_zeros(microsecond: int, expected: str) -> None:
    assert wire.timestamp(MOMENT.replace(microsecond=microsecond)) == expected


def test_utc_is_written_as_z(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        assert wire.timestamp(MOMENT) == "2021-09-03T08:25:08.004Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def all_objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if name not in MAPS:
                yield from all_objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from all_objects(inner)


DOCUMENTS: dict[str, Any] = {
    "takeOver": documents.task_instance(task(), [subtask()]),
    "detail": documents.wrapped(
        task(finish_time=MOMENT),
        [subtask(start_time=MOMENT, executor="x")],
        Progress(state=TaskState.QUEUED, waits_for=[Blocker(id=7, host_name="odp-7")]),
    ),
    "list": documents.basic(task(finish_time=MOMENT), [subtask()], TaskState.QUEUED),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_properties_are_in_alphabetical_order_and_never_null(name: str) -> None:
    for thing in all_objects(DOCUMENTS[name]):
        assert all(one < other for one, other in pairwise(thing))
        assert None not in thing.values()


SUBMITTED = {
    "description": "Prepare obproxy install",
    "downstreams": [2],
    "id": 1,
    "name": "Prepare obproxy install",
    "nodeType": "JAVA_TASK",
    "operation": "EXECUTE",
    "parallelIdx": -1,
    "prohibitRollback": False,
    "runTime": 1,
    "seriesId": 4,
    "status": "FAILED",
    "timeout": 300,
    "upstreams": [],
}


def test_the_documents_of_a_task_instance_in_full() -> None:
    found = task(
        status=TaskStatus.FAILED,
        held_by="ROLLOUT",
        request_id=9,
        finish_time=MOMENT,
        context={"listMap": {"b": ["2"], "a": ["1"]}, "stringMap": {"obproxy_server_id": "5", "c": "3"}},
    )
    change = {"what": "parameter", "name": "a", "before": None, "after": "1", "needs_restart": True}
    changes = [
        each | {"operation": "RETRY", "run_time": 2} for each in (change, change | {"before": "2", "after": None})
    ]
    row = subtask(
        status=SubtaskStatus.FAILED,
        downstreams=[2],
        executor="x",
        start_time=MOMENT,
        finish_time=MOMENT,
        changes=changes,
    )
    shown_change = {"name": "a", "needsRestart": True, "operation": "RETRY", "runTime": 2, "what": "parameter"}
    second = wire.timestamp(MOMENT.replace(microsecond=0))
    both = {
        "creator": {"id": 100, "name": "admin"},
        "finishTime": wire.timestamp(MOMENT),
        "heldBy": "ROLLOUT",
        "hostName": "odp-2",
        "id": 1,
        "name": "Install obproxy",
        "requestId": 9,
        "startTime": wire.timestamp(MOMENT),
        "state": "FAILED",
        "status": "FAILED",
    }

    assert documents.task_instance(found, [row]) == {
        "context": {
            "listMap": {"a": ["1"], "b": ["2"]},
            "parallel": False,
            "parallelIdx": -1,
            "stringMap": {"c": "3", "obproxy_server_id": "5"},
        },
        "creator": "admin",
        "executor": "192.0.2.1",
        "hostId": 2,
        "id": 1,
        "name": "Install obproxy",
        "operation": "EXECUTE",
        "startTime": wire.timestamp(MOMENT),
        "status": "FAILED",
        "subtasks": [SUBMITTED | {"className": "com.example.PrepareTask"}],
        "taskDefinitionId": -1,
        "type": "MANUAL",
    }
    waits = Progress(state=TaskState.FAILED, waits_for=[Blocker(id=7, host_name="odp-7")])
    assert documents.wrapped(found, [row], waits) == both | {
        "createTime": second,
        "executor": "192.0.2.1",
        "obproxyServerId": 5,
        "operation": "EXECUTE",
        "operations": ["RETRY", "ROLLBACK"],
        "prohibitRollback": False,
        "subtasks": [
            SUBMITTED
            | {
                "changes": [shown_change | {"after": "1"}, shown_change | {"before": "2"}],
                "createTime": second,
                "executor": "x",
                "finishTime": wire.timestamp(MOMENT),
                "operations": ["RETRY", "SKIP"],
                "startTime": wire.timestamp(MOMENT),
                "state": "FAILED",
            }
        ],
        "taskDefinitionId": -1,
        "type": "MANUAL",
        "waitsFor": [7],
        "waitsForHosts": ["odp-7"],
    }
    shown = ("description", "id", "name", "operation", "status")
    assert documents.basic(found, [row], TaskState.FAILED) == both | {
        "subtasks": [{name: SUBMITTED[name] for name in shown}]
    }
    assert documents.subtask(row, TaskState.FAILED)["operations"] == ["RETRY", "SKIP"]
    assert list(documents.task_instance(found, [row])["context"]["stringMap"]) == ["c", "obproxy_server_id"]
    assert list(documents.task_instance(found, [row])["context"]["listMap"]) == ["a", "b"]


def test_a_task_instance_without_what_it_waits_for_and_belongs_to() -> None:
    detail = documents.wrapped(task(superseded_by=4), [subtask(status=SubtaskStatus.FAILED)], WAITING)
    shown = documents.basic(task(superseded_by=4), [], TaskState.WAITING)

    assert not {"heldBy", "obproxyServerId", "requestId", "finishTime", "waitsFor", "waitsForHosts"} & {*detail, *shown}
    assert (detail["supersededBy"], shown["supersededBy"]) == (4, 4)
    assert (detail["operations"], detail["subtasks"][0]["operations"]) == ([], [])


def test_the_response_of_take_over_has_a_context_and_the_name_of_the_creator() -> None:
    answer = DOCUMENTS["takeOver"]
    assert answer["creator"] == "admin"
    assert answer["context"]["parallel"] is False and answer["context"]["parallelIdx"] == -1
    assert answer["subtasks"][0]["className"] == "com.example.PrepareTask"
    assert not {"createTime", "finishTime", "prohibitRollback"} & answer.keys()


def test_the_detail_has_no_context_and_a_creator_object_and_times() -> None:
    detail = DOCUMENTS["detail"]
    assert detail["creator"] == {"id": 100, "name": "admin"}
    assert "context" not in detail and "className" not in detail["subtasks"][0]
    assert "." not in detail["createTime"]  # second precision
    assert {"startTime", "finishTime"} <= detail.keys()


def test_a_subtask_that_has_not_run_has_no_times() -> None:
    assert not {"startTime", "finishTime", "executor"} & documents.subtask(subtask(), TaskState.QUEUED).keys()
