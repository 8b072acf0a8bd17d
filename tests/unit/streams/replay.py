"""Replay a stream through service.events, and hold the changes against what must be true of any of them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

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
from tests.unit.streams.record import STREAMS, cases

Event = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A run as it was recorded or built."""

    roles: Sequence[str]
    host: str
    events: list[Event]
    end: RunEnd


@cache
def load(name: str) -> Stream:
    """Return the recorded stream of a case; not to be changed."""
    return parse(cases()[name], (STREAMS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())


def parse(case: dict[str, Any], lines: Iterable[str]) -> Stream:
    """Return the stream of a case from its lines."""
    end, *events = map(json.loads, lines)
    roles = case.get("tags", ["before", "step", "after"])
    return Stream(roles=roles, host=case.get("host", "h1"), events=events, end=RunEnd(**end))


def replay(stream: Stream, *, token: int | None = None) -> list[Change]:
    """All changes of a run."""
    progress = begin(stream.roles, stream.host, token=token)
    changes: list[Change] = []
    for event in stream.events:
        progress, more = advance(progress, event)
        changes += more
    return [*changes, *finish(progress, stream.end)]


def assert_truthful(changes: Iterable[Change], roles: Sequence[str]) -> None:
    """Check that roles start and end in order, each once, without a later change, and that only the last one fails."""
    waiting, running, failed = list(roles), None, False
    for change in changes:
        assert not failed, f"{change} after a failure"
        match change:
            case Started(role=role):
                assert running is None
                assert role == waiting.pop(0)
                running = role
            case Ended(role=role, verdict=verdict):
                assert role == (running or waiting.pop(0))
                assert running or verdict is Verdict.FAILED, "a role that never started has not succeeded"
                running, failed = None, verdict is Verdict.FAILED
                _assert_clean(change.message)
            case Logged(role=role, text=text):
                assert role == (running or roles[0])
                assert text
                _assert_clean(text)
            case ServerFacts(role=role, values=values):
                assert role == running
                assert values
            case Changed(role=role, changes=made):
                assert role == running
                assert made
                for text in (text for one in made for text in (one.name, one.before, one.after) if text):
                    text.encode("utf-8")
    assert running is None
    assert failed or not waiting


def _assert_clean(text: str) -> None:
    text.encode("utf-8")  # what a database can take
    assert not set(text) & {chr(n) for n in (*range(9), *range(11, 32), 127)}
    assert text == text.strip("\n")
