"""The cases of docs/reference/event-streams.md D.2, from recorded and built streams: the outcome of each role."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from service.outcome.run_progress import Ended, Logged, RunEnd, ServerFacts, Verdict
from tests.unit.streams.record import JOB_ID, STREAMS, cases, record
from tests.unit.streams.replay import Event, Stream, assert_truthful, load, parse, replay

CASES = cases()
POSSIBLE = [name for name, case in CASES.items() if "impossible" not in case]


def cut_inside_step(name: str = "plain") -> list[Event]:
    """Return a recorded stream until an Ansible task of the role step runs."""
    events = load(name).events
    inside = next(n for n, event in enumerate(events) if event["event_data"].get("role") == "step")
    return events[: inside + 2]


def without(kind: str, role: str | None = None) -> list[Event]:
    """Return the plain stream without its one event of this kind and role."""
    events = load("plain").events
    kept = [e for e in events if (e["event"], e["event_data"].get("role")) != (kind, role)]
    assert len(kept) == len(events) - 1
    return kept


BUILT: dict[str, Callable[[], tuple[list[Event], RunEnd]]] = {
    "56": lambda: (cut_inside_step(), RunEnd(rc=None, status="failed")),
    "57": lambda: (cut_inside_step(), RunEnd(rc=99, status="failed")),
    "58": lambda: (cut_inside_step(), RunEnd(rc=None, status=None)),
    "59": lambda: (without("playbook_on_stats"), RunEnd(rc=254, status="canceled", canceled=True)),
    "61": lambda: (load("plain").events, RunEnd(rc=0, status=None)),
    "62": lambda: (without("runner_on_ok", "step"), RunEnd(rc=0, status="successful")),
    "63": lambda: (
        cut_inside_step(),
        RunEnd(rc=254, status="timeout", timed_out=True, limit=300, elapsed=300.4, last_lines="ops@h1's password: "),
    ),
    "64": lambda: (without("playbook_on_stats"), RunEnd(rc=0, status="successful")),
    "import-later-role-timeout": lambda: (
        cut_inside_step("import-later-role"),
        RunEnd(rc=254, status="timeout", timed_out=True, limit=300, elapsed=300.4),
    ),
}


def stream_of(name: str) -> Stream:
    if name not in BUILT:
        return load(name)
    events, end = BUILT[name]()
    return Stream(roles=load("plain").roles, host="h1", events=events, end=end)


def expected_ends(case: dict[str, Any]) -> dict[str, str]:
    """Return the outcome of each role: SUCCESSFUL, or the code of the failure."""
    ends = case["ends"]
    if isinstance(ends, dict):
        return ends
    after = {"after": "SUCCESSFUL"} if ends == "SUCCESSFUL" else {}
    return {"before": "SUCCESSFUL", "step": ends, **after}


@pytest.mark.parametrize("name", POSSIBLE)
def test_case(name: str) -> None:
    case, stream = CASES[name], stream_of(name)
    changes = replay(stream, token=JOB_ID)
    assert_truthful(changes, stream.roles)
    ended = [change for change in changes if isinstance(change, Ended)]
    assert {end.role: end.code or end.verdict.value for end in ended} == expected_ends(case)
    assert all((end.code == "") == (end.verdict is Verdict.SUCCESSFUL) for end in ended)
    says = case.get("says", "")
    for role, text in says.items() if isinstance(says, dict) else [(ended[-1].role, says)]:
        assert text in next(end.message for end in ended if end.role == role)
    assert ended[-1].message.startswith(case.get("starts", ""))
    for role, text in case.get("logs", {}).items():
        assert any(text in change.text for change in changes if isinstance(change, Logged) and change.role == role)
    learned = {change.role: change.values for change in changes if isinstance(change, ServerFacts)}
    assert learned == case.get("learned", {})
    assert "hides" not in case or case["hides"] not in repr(changes)


def test_every_case_of_the_list_is_here_once() -> None:
    # From the text: a YAML mapping would quietly hold the last of two.
    numbers = re.findall(r'^"(\w+)":', (STREAMS / "cases.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(numbers) == sorted([*map(str, range(1, 67)), "16b"])


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_recorded_or_built_or_impossible_for_a_reason(name: str) -> None:
    case = CASES[name]
    recorded = (STREAMS / f"{name}.jsonl").is_file()
    assert [recorded, name in BUILT, bool(case.get("impossible"))].count(True) == 1
    assert (name in BUILT) == ("built" in case)


def test_the_installed_ansible_emits_the_recorded_events() -> None:
    fresh = parse(CASES["2"], record(CASES["2"]))
    assert replay(fresh, token=JOB_ID) == replay(load("2"), token=JOB_ID), "record the streams anew, see record.py"


def test_every_stream_has_a_case() -> None:
    assert {path.stem for path in STREAMS.glob("*.jsonl")} <= CASES.keys()


@pytest.mark.parametrize("path", sorted(STREAMS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_streams_contain_nothing_of_the_recording_machine(path: Any) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(
        r"/(?:root|home|work|opt|tmp/stream)\b[^\"\\]*|[0-9a-f]{8}-[0-9a-f]{4}-|\b20\d\d-\d\d-\d\d", text
    )


def test_a_cancel_that_comes_too_late_changes_nothing() -> None:
    stream = load("plain")
    stream = Stream(
        roles=stream.roles, host="h1", events=stream.events, end=RunEnd(rc=0, status="successful", canceled=True)
    )
    assert [c.verdict for c in replay(stream) if isinstance(c, Ended)] == [Verdict.SUCCESSFUL] * 3
