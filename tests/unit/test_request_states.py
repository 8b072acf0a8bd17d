"""The state of each host of a request, and the status of the request that follows from them."""

from datetime import datetime
from itertools import combinations
from typing import Any

import pytest

from service.model.requests import Request, RequestStatus, status_of
from service.model.states import TaskState, state_of, subtask_state, task_state
from service.model.tasks import Held, Operation, SubtaskStatus, TaskStatus
from tests.unit.records import MOMENT, subtask, task

RUNNING, FAILED, SUCCESSFUL = TaskStatus.RUNNING, TaskStatus.FAILED, TaskStatus.SUCCESSFUL
EXECUTE, ROLLBACK = Operation.EXECUTE, Operation.ROLLBACK
ACTIVE = {TaskState.WAITING, TaskState.QUEUED, TaskState.WAITING_FOR_HOST, TaskState.RUNNING}


@pytest.mark.parametrize(
    ("status", "operation", "held_by", "superseded", "has_run", "expected"),
    [
        (RUNNING, EXECUTE, None, False, True, TaskState.RUNNING),
        (RUNNING, EXECUTE, None, False, False, TaskState.QUEUED),
        (RUNNING, ROLLBACK, None, False, True, TaskState.RUNNING),
        (RUNNING, EXECUTE, Held.ROLLOUT, False, False, TaskState.WAITING),
        (RUNNING, EXECUTE, Held.MAX_FAILURES, False, False, TaskState.NOT_STARTED),
        (FAILED, EXECUTE, None, False, False, TaskState.FAILED),
        (FAILED, ROLLBACK, None, False, False, TaskState.FAILED),
        (FAILED, EXECUTE, None, True, False, TaskState.SUPERSEDED),
        (SUCCESSFUL, EXECUTE, None, False, False, TaskState.SUCCESSFUL),
        (SUCCESSFUL, EXECUTE, None, True, False, TaskState.SUCCESSFUL),
        (SUCCESSFUL, ROLLBACK, None, True, False, TaskState.ROLLED_BACK),
    ],
)
def test_state_of_a_host(
    status: TaskStatus, operation: Operation, held_by: str | None, superseded: bool, has_run: bool, expected: TaskState
) -> None:
    assert task_state(status, operation, held_by=held_by, superseded=superseded, has_run=has_run) is expected


def test_callers_see_the_name_of_a_state() -> None:
    assert all(state.value == state.name for state in TaskState)


@pytest.mark.parametrize(
    ("values", "blocked", "expected"),
    [
        ({}, False, TaskState.QUEUED),
        ({}, True, TaskState.WAITING_FOR_HOST),
        ({"has_run": True}, True, TaskState.RUNNING),
        ({"held_by": Held.ROLLOUT}, False, TaskState.WAITING),
        ({"status": FAILED}, False, TaskState.FAILED),
        ({"status": FAILED, "superseded_by": 2}, False, TaskState.SUPERSEDED),
        ({"status": SUCCESSFUL, "operation": ROLLBACK}, False, TaskState.ROLLED_BACK),
    ],
)
def test_state_of_a_task_instance(values: dict[str, Any], blocked: bool, expected: TaskState) -> None:
    instance = task(**values)

    assert state_of(instance, blocked=blocked) is expected
    assert blocked or state_of(instance) is expected


@pytest.mark.parametrize(("has_run", "expected"), [(False, TaskState.WAITING_FOR_HOST), (True, TaskState.RUNNING)])
def test_another_host_blocks_only_a_task_instance_without_a_run(has_run: bool, expected: TaskState) -> None:
    state = task_state(RUNNING, EXECUTE, held_by=None, superseded=False, has_run=has_run, blocked=True)

    assert state is expected


@pytest.mark.parametrize(
    ("status", "operation", "task", "expected"),
    [
        (SubtaskStatus.READY, EXECUTE, TaskState.QUEUED, TaskState.QUEUED),
        (SubtaskStatus.READY, EXECUTE, TaskState.WAITING_FOR_HOST, TaskState.WAITING_FOR_HOST),
        (SubtaskStatus.READY, EXECUTE, TaskState.RUNNING, SubtaskStatus.READY),
        (SubtaskStatus.PENDING, EXECUTE, TaskState.QUEUED, SubtaskStatus.PENDING),
        (SubtaskStatus.PENDING, ROLLBACK, TaskState.ROLLED_BACK, TaskState.ROLLED_BACK),
        (SubtaskStatus.PENDING, Operation.ROLLBACK_SKIP, TaskState.RUNNING, TaskState.ROLLED_BACK),
        (SubtaskStatus.SUCCESSFUL, ROLLBACK, TaskState.RUNNING, SubtaskStatus.SUCCESSFUL),
        (SubtaskStatus.RUNNING, EXECUTE, TaskState.RUNNING, SubtaskStatus.RUNNING),
    ],
)
def test_state_of_a_subtask(
    status: SubtaskStatus, operation: Operation, task: TaskState, expected: SubtaskStatus | TaskState
) -> None:
    assert subtask_state(subtask(status=status, operation=operation), task) is expected


@pytest.mark.parametrize("size", [1, 2, 3])
def test_status_of_a_request(size: int) -> None:
    for states in combinations(TaskState, size):
        status = status_of(dict.fromkeys(TaskState, 0) | dict.fromkeys(states, 2))

        assert (status is RequestStatus.RUNNING) == bool(ACTIVE & set(states))
        assert (status is RequestStatus.SUCCESSFUL) == (set(states) == {TaskState.SUCCESSFUL})
        if not ACTIVE & set(states):
            assert (status is RequestStatus.STOPPED) == (TaskState.NOT_STARTED in states)
        if set(states) <= {TaskState.FAILED, TaskState.SUPERSEDED, TaskState.SUCCESSFUL, TaskState.ROLLED_BACK}:
            failed = bool({TaskState.FAILED, TaskState.SUPERSEDED} & set(states))
            assert (status is RequestStatus.FAILED) == failed
            assert (status is RequestStatus.ROLLED_BACK) == (not failed and TaskState.ROLLED_BACK in states)


@pytest.mark.parametrize(
    ("running", "status", "finish_time"), [(0, RequestStatus.FAILED, MOMENT), (1, RequestStatus.RUNNING, None)]
)
def test_a_request_ends_with_its_last_host(running: int, status: RequestStatus, finish_time: datetime | None) -> None:
    request = Request(
        id=1,
        workflow="takeover",
        cluster_id=1,
        cluster_name="test",
        creator="admin",
        creator_id=100,
        rollout=None,
        create_time=MOMENT,
        counts={TaskState.RUNNING: running, TaskState.FAILED: 2, TaskState.SUCCESSFUL: 3},
        last_end=MOMENT,
    )
    assert (request.status, request.hosts, request.finish_time) == (status, 5 + running, finish_time)
