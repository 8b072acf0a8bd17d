"""The transition table, every pair of it: what is not listed as legal is refused."""

import itertools

import pytest

from service import state
from service.state import TRANSITIONS, Trigger
from service.types import SubtaskStatus, TaskStatus
from tests.unit.records import subtask

PENDING, READY, RUNNING = SubtaskStatus.PENDING, SubtaskStatus.READY, SubtaskStatus.RUNNING
CANCELING, FAILED, SUCCESSFUL = SubtaskStatus.CANCELING, SubtaskStatus.FAILED, SubtaskStatus.SUCCESSFUL

LEGAL = {
    (PENDING, Trigger.PROMOTE): READY,
    (READY, Trigger.START): RUNNING,
    (RUNNING, Trigger.SUCCEED): SUCCESSFUL,
    (RUNNING, Trigger.FAIL): FAILED,
    (READY, Trigger.FAIL): FAILED,
}


@pytest.mark.parametrize(("status", "trigger"), list(itertools.product(SubtaskStatus, Trigger)))
def test_transition(status: SubtaskStatus, trigger: Trigger) -> None:
    assert TRANSITIONS.get((status, trigger)) == LEGAL.get((status, trigger))
    assert (status in state.sources(trigger)) == ((status, trigger) in LEGAL)


@pytest.mark.parametrize("trigger", Trigger)
def test_a_trigger_leads_to_one_state(trigger: Trigger) -> None:
    targets = {after for (_, by), after in TRANSITIONS.items() if by is trigger}
    assert targets == {state.target(trigger)}


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
def test_promotes_what_only_waited_for_its_upstreams(
    first: SubtaskStatus, second: SubtaskStatus, promoted: list[int]
) -> None:
    chain = [subtask(id=1, status=first, downstreams=[2]), subtask(id=2, status=second, upstreams=[1])]
    assert state.promotable(chain) == promoted


def test_a_join_waits_for_all_its_upstreams() -> None:
    upstreams = [subtask(id=1, status=SUCCESSFUL), subtask(id=2, status=RUNNING)]
    assert state.promotable([*upstreams, subtask(id=3, upstreams=[1, 2])]) == []


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([READY, PENDING], TaskStatus.RUNNING),
        ([SUCCESSFUL, RUNNING], TaskStatus.RUNNING),
        ([SUCCESSFUL, SUCCESSFUL], TaskStatus.SUCCESSFUL),
        ([FAILED, PENDING], TaskStatus.FAILED),
        ([FAILED, RUNNING], TaskStatus.RUNNING),  # E14: not before what still runs has ended
        ([FAILED, CANCELING], TaskStatus.RUNNING),
        ([SUCCESSFUL, PENDING], TaskStatus.RUNNING),
    ],
)
def test_the_task_instance_follows_its_subtasks(statuses: list[SubtaskStatus], expected: TaskStatus) -> None:
    assert state.task_status(statuses) is expected
