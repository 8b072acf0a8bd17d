"""The decision which hosts of a request start next, alone and over whole rollouts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model.rollout import Progress, Rollout, Step, next_step

POLICIES = st.builds(
    Rollout,
    canary=st.integers(0, 4),
    batch_size=st.none() | st.integers(1, 5),
    max_failures=st.integers(0, 4),
)


@pytest.mark.parametrize(
    ("policy", "progress", "expected"),
    [
        (Rollout(canary=2, batch_size=3), (10, 2, 0, 0), Step(start=2)),
        (Rollout(canary=2, batch_size=3), (8, 0, 1, 0), Step()),
        (Rollout(canary=2, batch_size=3), (8, 0, 0, 0), Step(start=3)),
        (Rollout(canary=2, batch_size=3), (2, 0, 0, 0), Step(start=2)),
        (Rollout(canary=1), (9, 0, 0, 0), Step(start=9)),
        (Rollout(batch_size=3), (0, 0, 0, 5), Step()),
        (Rollout(batch_size=3), (7, 0, 2, 1), Step(stop=True)),
        (Rollout(batch_size=3, max_failures=1), (7, 0, 2, 1), Step()),
        (Rollout(batch_size=3, max_failures=1), (7, 0, 0, 1), Step(start=3)),
        (Rollout(batch_size=3, max_failures=1), (7, 0, 0, 2), Step(stop=True)),
    ],
)
def test_the_next_step(policy: Rollout, progress: tuple[int, int, int, int], expected: Step) -> None:
    held, held_canary, running, failed = progress

    assert next_step(policy, Progress(held=held, held_canary=held_canary, running=running, failed=failed)) == expected


def test_a_request_without_a_policy_starts_all_hosts() -> None:
    assert Rollout() == Rollout(canary=0, batch_size=None, max_failures=0)
    assert next_step(Rollout(), Progress(held=9, held_canary=0, running=0, failed=0)) == Step(start=9)


@given(policy=POLICIES, ends=st.lists(st.booleans(), min_size=1, max_size=30), data=st.data())
def test_a_rollout_starts_every_host_once_or_stops(policy: Rollout, ends: list[bool], data: st.DataObject) -> None:
    """`ends` has whether each host succeeds; the hosts of a batch end in any order."""
    waiting, running, failed, batches = list(range(len(ends))), list[int](), 0, list[list[int]]()
    while True:
        held_canary = sum(host < policy.canary for host in waiting)
        step = next_step(
            policy, Progress(held=len(waiting), held_canary=held_canary, running=len(running), failed=failed)
        )
        if step.start:
            assert not running and not step.stop
            batch, waiting = waiting[: step.start], waiting[step.start :]
            batches.append(batch)
            running = list(batch)
        if step.stop or not running:
            break
        ended = data.draw(st.sampled_from(running))
        running.remove(ended)
        failed += not ends[ended]

    assert [host for batch in batches for host in batch] == list(range(len(ends) - len(waiting)))
    assert bool(waiting) == (step.stop and failed > policy.max_failures)
    assert all(len(batch) <= (policy.batch_size or len(ends)) for batch in batches[bool(policy.canary) :])
    if policy.canary:
        assert batches[0] == list(range(min(policy.canary, len(ends))))
    failures_before = 0
    for batch in batches:
        assert failures_before <= policy.max_failures, "a batch that starts beyond the limit"
        failures_before += sum(not ends[host] for host in batch)


@given(
    policy=POLICIES,
    held=st.integers(0, 20),
    canary=st.integers(0, 20),
    running=st.integers(0, 20),
    failed=st.integers(0, 20),
)
def test_never_more_than_is_held(policy: Rollout, held: int, canary: int, running: int, failed: int) -> None:
    step = next_step(policy, Progress(held=held, held_canary=min(canary, held), running=running, failed=failed))

    assert 0 <= step.start <= held
    assert not (step.start and (running or step.stop))
    assert step.stop == (held > 0 and failed > policy.max_failures)
