"""The transition table, every pair of it: a transition that is not listed as legal is rejected."""

import itertools
from typing import Any

import pytest

from service.model import transitions
from service.model.tasks import CHECK_MODE, EXTERNAL, Operation, Subtask, SubtaskStatus, TaskStatus
from service.model.transitions import TRANSITIONS, Trigger
from tests.unit.records import subtask, task

PENDING, READY, RUNNING = SubtaskStatus.PENDING, SubtaskStatus.READY, SubtaskStatus.RUNNING
CANCELING, FAILED, SUCCESSFUL = SubtaskStatus.CANCELING, SubtaskStatus.FAILED, SubtaskStatus.SUCCESSFUL
EXECUTE, RETRY, ROLLBACK = Operation.EXECUTE, Operation.RETRY, Operation.ROLLBACK
SKIP, ROLLBACK_SKIP, CANCEL = Operation.SKIP, Operation.ROLLBACK_SKIP, Operation.CANCEL

SAME = None  # the operation stays what it is

# docs/reference/task-engine.md 3.2: by trigger, from which status, with which operations, to which position.
LEGAL: dict[Trigger, list[tuple[SubtaskStatus, set[Operation], SubtaskStatus, Operation | None]]] = {
    Trigger.PROMOTE: [(PENDING, set(Operation), READY, SAME)],
    Trigger.ROLLBACK_READY: [
        (READY, {ROLLBACK}, READY, SAME),
        (FAILED, {ROLLBACK}, READY, SAME),
        (SUCCESSFUL, {ROLLBACK}, READY, SAME),
    ],
    Trigger.START: [(READY, set(Operation), RUNNING, SAME)],
    Trigger.SUCCEED: [
        (RUNNING, {EXECUTE, RETRY, SKIP}, SUCCESSFUL, SAME),
        (CANCELING, {EXECUTE, RETRY, SKIP}, SUCCESSFUL, SAME),
        (RUNNING, {ROLLBACK, ROLLBACK_SKIP}, PENDING, SAME),
        (CANCELING, {ROLLBACK, ROLLBACK_SKIP}, PENDING, SAME),
    ],
    Trigger.FAIL: [
        (READY, set(Operation), FAILED, SAME),
        (RUNNING, set(Operation), FAILED, SAME),
        (CANCELING, set(Operation), FAILED, CANCEL),
    ],
    Trigger.CANCELED: [
        (READY, set(Operation), FAILED, CANCEL),
        (RUNNING, set(Operation), FAILED, CANCEL),
        (CANCELING, set(Operation), FAILED, CANCEL),
    ],
    Trigger.REQUEUE: [(RUNNING, set(Operation), READY, SAME)],
    Trigger.RETRY: [(FAILED, set(Operation), READY, RETRY)],
    Trigger.RETRY_ROLLBACK: [(FAILED, set(Operation), READY, ROLLBACK)],
    Trigger.SKIP: [(FAILED, set(Operation), READY, SKIP)],
    Trigger.SKIP_ROLLBACK: [(FAILED, set(Operation), READY, ROLLBACK_SKIP)],
    Trigger.CANCEL: [(RUNNING, set(Operation), CANCELING, SAME)],
    Trigger.ROLLBACK: [
        (READY, set(Operation), READY, ROLLBACK),
        (FAILED, set(Operation), FAILED, ROLLBACK),
        (SUCCESSFUL, set(Operation), SUCCESSFUL, ROLLBACK),
    ],
}


@pytest.mark.parametrize(("status", "operation", "trigger"), list(itertools.product(SubtaskStatus, Operation, Trigger)))
def test_transition(status: SubtaskStatus, operation: Operation, trigger: Trigger) -> None:
    expected = [
        (to, new or operation)
        for source, operations, to, new in LEGAL[trigger]
        if source is status and operation in operations
    ]
    assert TRANSITIONS.get(((status, operation), trigger)) == (expected[0] if expected else None)


@pytest.mark.parametrize("trigger", Trigger)
def test_an_error_can_name_the_allowed_states(trigger: Trigger) -> None:
    assert set(transitions.allowed(trigger)) == {source for source, *_ in LEGAL[trigger]}


@pytest.mark.parametrize(
    ("first", "second", "promoted"),
    [
        (SUCCESSFUL, PENDING, [2]),
        (SUCCESSFUL, READY, []),
        (RUNNING, PENDING, []),
        (FAILED, PENDING, []),
        (SUCCESSFUL, FAILED, []),
    ],
)
def test_promotes_subtasks_with_finished_upstreams(
    first: SubtaskStatus, second: SubtaskStatus, promoted: list[int]
) -> None:
    chain = [subtask(id=1, status=first, downstreams=[2]), subtask(id=2, status=second, upstreams=[1])]
    assert transitions.promotable(chain) == promoted


def test_a_join_waits_for_all_its_upstreams() -> None:
    upstreams = [subtask(id=1, status=SUCCESSFUL), subtask(id=2, status=RUNNING)]
    assert transitions.promotable([*upstreams, subtask(id=3, upstreams=[1, 2])]) == []


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([READY, PENDING], TaskStatus.RUNNING),
        ([SUCCESSFUL, RUNNING], TaskStatus.RUNNING),
        ([SUCCESSFUL, SUCCESSFUL], TaskStatus.SUCCESSFUL),
        ([FAILED, PENDING], TaskStatus.FAILED),
        ([FAILED, RUNNING], TaskStatus.RUNNING),  # E14: not before what still runs has ended
        ([FAILED, CANCELING], TaskStatus.RUNNING),
        ([FAILED, READY], TaskStatus.RUNNING),
        ([SUCCESSFUL, PENDING], TaskStatus.RUNNING),
    ],
)
def test_the_task_instance_follows_its_subtasks(statuses: list[SubtaskStatus], expected: TaskStatus) -> None:
    assert transitions.task_status(EXECUTE, statuses) is expected


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([PENDING, PENDING], TaskStatus.SUCCESSFUL),
        ([SUCCESSFUL, PENDING], TaskStatus.RUNNING),
        ([SUCCESSFUL, FAILED], TaskStatus.FAILED),
        ([SUCCESSFUL, SUCCESSFUL], TaskStatus.RUNNING),
    ],
)
def test_a_rollback_is_through_when_everything_is_pending(statuses: list[SubtaskStatus], expected: TaskStatus) -> None:
    assert transitions.task_status(ROLLBACK, statuses) is expected


def chain(*positions: tuple[SubtaskStatus, Operation]) -> list[Subtask]:
    count = len(positions)
    return [
        subtask(
            id=number,
            status=status,
            operation=operation,
            upstreams=[number - 1] if number > 1 else [],
            downstreams=[number + 1] if number < count else [],
        )
        for number, (status, operation) in enumerate(positions, start=1)
    ]


def test_rolls_back_from_the_end_one_after_the_other() -> None:
    subtasks = chain((SUCCESSFUL, ROLLBACK), (SUCCESSFUL, ROLLBACK), (PENDING, ROLLBACK), (PENDING, EXECUTE))
    assert transitions.ready_to_roll_back(subtasks) == [2]
    assert [s.id for s in transitions.rollback_frontier(subtasks)] == [2]


@pytest.mark.parametrize("status", [FAILED, READY, RUNNING])
def test_nothing_is_rolled_back_behind_one_that_is_not_through(status: SubtaskStatus) -> None:
    assert transitions.ready_to_roll_back(chain((SUCCESSFUL, ROLLBACK), (status, ROLLBACK), (PENDING, EXECUTE))) == []


def test_a_check_continues_after_failures_and_retries_only_what_is_asked_for() -> None:
    subtasks = chain((FAILED, EXECUTE), (READY, RETRY), (FAILED, EXECUTE), (PENDING, EXECUTE), (PENDING, EXECUTE))
    assert [s.id for s in transitions.remaining(RETRY, subtasks)] == [2, 4, 5]
    assert transitions.promotable(subtasks, after_failures=True) == [4]
    assert transitions.promotable(subtasks) == []


def test_a_run_does_the_remaining_subtasks_forward_or_backward() -> None:
    subtasks = chain((SUCCESSFUL, EXECUTE), (READY, RETRY), (PENDING, EXECUTE))
    assert [s.id for s in transitions.remaining(RETRY, subtasks)] == [2, 3]
    assert [s.id for s in transitions.remaining(ROLLBACK, subtasks)] == [2, 1]


@pytest.mark.parametrize(
    ("task_prohibits", "begun_prohibits", "later_prohibits", "expected"),
    [(False, False, False, False), (True, False, False, True), (False, True, False, True), (False, False, True, False)],
)
def test_rollback_is_prohibited_by_a_started_subtask(
    task_prohibits: bool, begun_prohibits: bool, later_prohibits: bool, expected: bool
) -> None:
    subtasks = [
        subtask(id=1, status=FAILED, prohibit_rollback=begun_prohibits),
        subtask(id=2, status=PENDING, prohibit_rollback=later_prohibits),
    ]
    found = task(status=TaskStatus.FAILED, prohibit_rollback=task_prohibits)
    assert transitions.rollback_prohibited(found, subtasks) is expected
    assert (ROLLBACK in transitions.legal_for_task(found, subtasks)) is not expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"type": EXTERNAL}, True),
        ({"superseded_by": 2}, True),
        ({"obproxy_server_id": None}, True),  # the rollback of another task instance has removed it
        ({"obproxy_server_id": None, "context": {"stringMap": {CHECK_MODE: "true"}}}, False),  # it never had one
        ({"obproxy_server_id": None, "status": TaskStatus.RUNNING}, False),
        ({"obproxy_server_id": None, "status": TaskStatus.SUCCESSFUL}, False),
    ],
    ids=str,
)
def test_a_task_instance_that_allows_no_operation_any_more(fields: dict[str, Any], expected: bool) -> None:
    found = task(**{"status": TaskStatus.FAILED} | fields)
    failed = found.status is TaskStatus.FAILED
    assert transitions.read_only(found) is expected
    assert bool(transitions.legal_for_task(found, [])) is (failed and not expected)


def test_skips_the_ready_subtasks_that_a_user_has_skipped() -> None:
    subtasks = chain((READY, SKIP), (READY, ROLLBACK_SKIP), (READY, RETRY), (PENDING, SKIP), (SUCCESSFUL, SKIP))
    assert transitions.to_skip(subtasks) == [1, 2]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (PENDING, []),
        (READY, []),
        (RUNNING, [CANCEL]),
        (CANCELING, []),
        (FAILED, [RETRY, SKIP]),
        (SUCCESSFUL, []),
    ],
)
def test_legal_operations_of_a_subtask(status: SubtaskStatus, expected: list[Operation]) -> None:
    assert transitions.legal_for_subtask(subtask(status=status)) == expected
