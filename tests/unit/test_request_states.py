"""The state of each host of a request, and the status of the request that follows from them."""

from itertools import combinations

import pytest

from service.model.requests import Held, HostState, RequestStatus, host_state, status_of
from service.model.tasks import Operation, TaskStatus

RUNNING, FAILED, SUCCESSFUL = TaskStatus.RUNNING, TaskStatus.FAILED, TaskStatus.SUCCESSFUL
EXECUTE, ROLLBACK = Operation.EXECUTE, Operation.ROLLBACK
ACTIVE = {HostState.WAITING, HostState.QUEUED, HostState.RUNNING}


@pytest.mark.parametrize(
    ("status", "operation", "held_by", "superseded", "has_run", "expected"),
    [
        (RUNNING, EXECUTE, None, False, True, HostState.RUNNING),
        (RUNNING, EXECUTE, None, False, False, HostState.QUEUED),
        (RUNNING, ROLLBACK, None, False, True, HostState.RUNNING),
        (RUNNING, EXECUTE, Held.ROLLOUT, False, False, HostState.WAITING),
        (RUNNING, EXECUTE, Held.MAX_FAILURES, False, False, HostState.NOT_STARTED),
        (FAILED, EXECUTE, None, False, False, HostState.FAILED),
        (FAILED, ROLLBACK, None, False, False, HostState.FAILED),
        (FAILED, EXECUTE, None, True, False, HostState.SUPERSEDED),
        (SUCCESSFUL, EXECUTE, None, False, False, HostState.SUCCESSFUL),
        (SUCCESSFUL, EXECUTE, None, True, False, HostState.SUCCESSFUL),
        (SUCCESSFUL, ROLLBACK, None, True, False, HostState.ROLLED_BACK),
    ],
)
def test_state_of_a_host(
    status: TaskStatus, operation: Operation, held_by: str | None, superseded: bool, has_run: bool, expected: HostState
) -> None:
    assert host_state(status, operation, held_by=held_by, superseded=superseded, has_run=has_run) is expected


@pytest.mark.parametrize("size", [1, 2, 3])
def test_status_of_a_request(size: int) -> None:
    for states in combinations(HostState, size):
        status = status_of(dict.fromkeys(HostState, 0) | dict.fromkeys(states, 2))

        assert (status is RequestStatus.RUNNING) == bool(ACTIVE & set(states))
        assert (status is RequestStatus.SUCCESSFUL) == (set(states) == {HostState.SUCCESSFUL})
        if not ACTIVE & set(states):
            assert (status is RequestStatus.STOPPED) == (HostState.NOT_STARTED in states)
        if set(states) <= {HostState.FAILED, HostState.SUPERSEDED, HostState.SUCCESSFUL, HostState.ROLLED_BACK}:
            failed = bool({HostState.FAILED, HostState.SUPERSEDED} & set(states))
            assert (status is RequestStatus.FAILED) == failed
            assert (status is RequestStatus.ROLLED_BACK) == (not failed and HostState.ROLLED_BACK in states)
