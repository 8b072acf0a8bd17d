"""The schedule of the random faults."""

from itertools import pairwise

from tests.lab.chaos.faults import LONG, Strike, schedule

STRIKES: dict[str, dict[str, Strike]] = {
    target: {kind: lambda _: None for kind in ("kill", "stop")} for target in ("api", "worker")
}


def test_a_seed_selects_the_faults() -> None:
    assert schedule(1, 300, STRIKES) == schedule(1, 300, STRIKES) != schedule(2, 300, STRIKES)


def test_a_target_has_one_fault_at_a_time() -> None:
    for seed in range(20):
        faults = schedule(seed, 300, STRIKES)
        assert {(fault.target, fault.kind) for fault in faults} == {(t, kind) for t in STRIKES for kind in STRIKES[t]}
        for target in STRIKES:
            of_target = [fault for fault in faults if fault.target == target]
            assert all(before.begin + before.seconds <= after.begin for before, after in pairwise(of_target))


def test_a_short_schedule_has_no_fault_that_outlasts_a_lease() -> None:
    lasts = {
        seconds: [fault.seconds for n in range(20) for fault in schedule(n, seconds, STRIKES)] for seconds in (20, 300)
    }
    assert max(lasts[20]) < LONG[0] <= max(lasts[300])
