"""Properties of every event stream: repeated, incomplete, cut anywhere, or random."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from service.outcome.run_progress import (
    Change,
    Changed,
    Ended,
    Logged,
    RunEnd,
    ServerFacts,
    Started,
    Verdict,
    advance,
    begin,
    finish,
)
from tests.unit.streams.record import JOB_ID, STREAMS
from tests.unit.streams.replay import Event, Stream, assert_truthful, load, replay

NAMES = sorted(path.stem for path in STREAMS.glob("*.jsonl"))
LOST = RunEnd(rc=None, status=None)
SEEDS = 300


@pytest.mark.parametrize("name", NAMES)
def test_events_delivered_twice_count_once(name: str) -> None:
    stream = load(name)
    again = [event for n, event in enumerate(stream.events) for event in (event, *stream.events[max(0, n - 3) : n + 1])]
    assert replay(replace(stream, events=again), token=JOB_ID) == replay(stream, token=JOB_ID)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_lost_anywhere_is_never_shown_to_be_further_than_it_was(name: str) -> None:
    stream = load(name)
    whole = replay(stream, token=JOB_ID)
    for length in range(len(stream.events) + 1):
        changes = replay(replace(stream, events=stream.events[:length], end=LOST), token=JOB_ID)
        assert_truthful(changes, stream.roles)
        *shown, last = changes
        assert shown == whole[: len(shown)] or length == 0 or isinstance(shown[0], Logged)
        assert isinstance(last, Ended)
        assert last.code == "INTERRUPTED"


@pytest.mark.parametrize("name", NAMES)
def test_a_failed_run_with_a_hole_is_still_a_failed_run(name: str) -> None:
    stream = load(name)
    for hole in range(len(stream.events) - 1):
        events = stream.events[:hole] + stream.events[hole + 1 :]
        changes = replay(replace(stream, events=events), token=JOB_ID)
        assert_truthful(changes, stream.roles)
        ended = [change for change in changes if isinstance(change, Ended)]
        assert (ended[-1].verdict is Verdict.FAILED) or stream.end.rc == 0
        assert "Events of this run were lost" in ended[-1].message


@pytest.mark.parametrize("name", NAMES)
def test_a_progress_is_never_changed_only_followed(name: str) -> None:
    stream = load(name)
    progress = begin(stream.roles, stream.host, token=JOB_ID)
    for event in stream.events:
        before, copy = progress, replace(progress)
        progress, changes = advance(before, event)
        assert before == copy
        assert advance(before, event) == (progress, changes)


ROLES = ["before", "step", "after"]
JUNK: list[Callable[[random.Random], Any]] = [
    lambda _: None,
    lambda _: b"\xff\x00bytes",
    lambda _: "\x1b[31m\ud800\x00 text \r\n",
    lambda _: [],
    lambda _: {},
    lambda _: [{"failed": True, "msg": None}, 3, None],
    lambda _: {"msg": ["a", b"b", None], 1: 2, None: {}},
    lambda _: {"obproxy_server": {"pid": -1, 5: 6, "drift": [[]], "home": "\x00", "\ud800": 1, "owner": "admin"}},
    lambda _: {
        "changes": [{"what": "file", "name": "\ud800a", "before": None, "after": "\x1b[0m\ud800"}, 1, {"what": []}]
    },
    lambda _: 10**5000,
    lambda _: float("nan"),
    lambda _: True,
    lambda rng: rng.choice([*ROLES, "h1", "h2", "censored"]),
    lambda rng: {rng.choice(["h1", "h2", None, 3]): rng.choice([0, 1, None, "x", []])},
    lambda rng: rng.randrange(-5, 60),
]


def spoil(rng: random.Random, value: Any, chance: float) -> Any:
    """`value` with some of its parts replaced by junk or left out."""
    if rng.random() < chance:
        return rng.choice(JUNK)(rng)
    if isinstance(value, dict):
        return {key: spoil(rng, item, chance) for key, item in value.items() if rng.random() >= chance / 2}
    return [spoil(rng, item, chance) for item in value] if isinstance(value, list) else value


def rubbish(rng: random.Random) -> list[Any]:
    """Events of several streams, out of order and spoiled, and things that are no events."""
    pool: list[Event] = [event for name in (*rng.sample(NAMES, 4), "learned") for event in load(name).events]
    chosen = rng.choices(pool, k=40) if rng.random() < 0.5 else pool[:60]
    chance = rng.choice([0.02, 0.1, 0.3])
    kept = rng.random() < 0.5  # else most would be dropped as repeated
    events = [spoil(rng, event if kept else event | {"counter": n + 1}, chance) for n, event in enumerate(chosen)]
    return [rng.choice(JUNK)(rng) if rng.random() < 0.05 else event for event in events]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_rubbish_raises_nothing_and_makes_no_untruth(seed: int) -> None:
    rng = random.Random(seed)
    end = RunEnd(
        rc=rng.choice([None, 0, 0, 1, 2, 4, 99, 254]),
        status=rng.choice([None, "successful", "failed", "canceled", "timeout", "running", "odd"]),
        canceled=rng.random() < 0.2,
        tree_gone=rng.random() < 0.8,
        timed_out=rng.random() < 0.2,
        last_lines=rng.choice(["", "\x00\x1b[0mPassword: "]),
        events_complete=rng.random() < 0.8,
    )
    stream = Stream(roles=ROLES, host="h1", events=rubbish(rng), end=end)
    assert_truthful(replay(stream, token=rng.choice([None, JOB_ID])), ROLES)


def test_rubbish_is_not_all_dropped() -> None:
    seen: set[type[Change]] = set()
    codes: set[str] = set()
    for seed in range(SEEDS):
        events = rubbish(random.Random(seed))
        changes = replay(Stream(roles=ROLES, host="h1", events=events, end=RunEnd(rc=seed % 3, status=None)))
        seen |= {type(change) for change in changes}
        codes |= {change.code for change in changes if isinstance(change, Ended)}
    assert seen == {Started, Ended, Logged, ServerFacts, Changed}
    assert {"", "TASK_FAILED", "ABORTED", "INCONSISTENT", "HOST_MISSING"} <= codes


def test_a_late_ok_never_turns_a_failed_run_into_a_good_one() -> None:
    stream = load("26")  # force_handlers: the handler is ok after the failure
    kinds = [event["event"] for event in stream.events]
    assert kinds.index("runner_on_failed") < len(kinds) - 1 - kinds[::-1].index("runner_on_ok")
    *_, last = replay(stream)
    assert isinstance(last, Ended)
    assert last.verdict is Verdict.FAILED


def test_finish_is_idempotent() -> None:
    stream = load("2")
    progress = begin(stream.roles, stream.host)
    for event in stream.events:
        progress, _ = advance(progress, event)
    assert finish(progress, stream.end) == finish(progress, stream.end)
