"""Properties of every event stream: repeated, incomplete, cut anywhere, or random."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from service.outcome.run_progress import (
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
from tests.unit.streams.malformed import NAMES, ROLES, malformed_events
from tests.unit.streams.record import JOB_ID
from tests.unit.streams.replay import Stream, assert_truthful, load, replay

LOST = RunEnd(rc=None, status=None)
EXAMPLES = 300


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


ENDS = st.builds(
    RunEnd,
    rc=st.sampled_from([None, 0, 1, 2, 4, 99, 254]),
    status=st.sampled_from([None, "successful", "failed", "canceled", "timeout", "running", "odd"]),
    canceled=st.booleans(),
    tree_gone=st.booleans(),
    timed_out=st.booleans(),
    last_lines=st.sampled_from(["", "\x00\x1b[0mPassword: "]),
    events_complete=st.booleans(),
)


@settings(max_examples=EXAMPLES)
@given(events=malformed_events(), end=ENDS, token=st.sampled_from([None, JOB_ID]))
def test_malformed_events_raise_nothing_and_make_no_untruth(events: list[Any], end: RunEnd, token: int | None) -> None:
    stream = Stream(roles=ROLES, host="h1", events=events, end=end)
    assert_truthful(replay(stream, token=token), ROLES)


def _reached(events: list[Any]) -> set[object]:
    """Return what a stream of malformed events leads to: the types of its changes, and the codes of its ends."""
    ends = [RunEnd(rc=rc, status=None) for rc in (0, 2)]
    changes = [change for end in ends for change in replay(Stream(roles=ROLES, host="h1", events=events, end=end))]
    return {type(change) for change in changes} | {change.code for change in changes if isinstance(change, Ended)}


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of what is found, which may be any size
@pytest.mark.parametrize(
    "wanted", [Started, Logged, ServerFacts, Changed, "", "TASK_FAILED", "INCONSISTENT", "ABORTED"]
)
def test_malformed_events_reach_every_kind_of_change(wanted: object) -> None:
    find(
        malformed_events(),
        lambda events: wanted in _reached(events),
        settings=settings(phases=[Phase.generate], max_examples=1000),
    )


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
