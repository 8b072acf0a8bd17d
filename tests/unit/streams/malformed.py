"""Malformed event streams, for Hypothesis: parts of recorded ones, out of order, with values replaced or removed."""

from collections.abc import Iterator, MutableMapping, MutableSequence
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tests.unit.streams.record import STREAMS
from tests.unit.streams.replay import load

ROLES = ["before", "step", "after"]
NAMES = sorted(path.stem for path in STREAMS.glob("*.jsonl"))
LENGTH = 60  # events
_REMOVED = object()
_RESULTS = st.sampled_from(
    [
        [{"failed": True, "msg": None}, 3, None],
        {"msg": ["a", b"b", None], 1: 2, None: {}},
        {"obproxy_server": {"pid": -1, 5: 6, "drift": [[]], "home": "\x00", "\ud800": 1, "owner": "admin"}},
        {"changes": [{"what": "file", "name": "\ud800a", "before": None, "after": "\x1b[0m\ud800"}, 1, {"what": []}]},
    ]
)
_JUNK: st.SearchStrategy[Any] = st.one_of(
    st.just(_REMOVED),
    st.sampled_from([None, True, float("nan"), 10**5000, b"\xff\x00bytes", "\x1b[31m\ud800\x00 text \r\n", [], {}]),
    st.sampled_from([*ROLES, "h1", "h2", "censored"]),
    st.dictionaries(st.sampled_from(["h1", "h2", None, 3]), st.sampled_from([0, 1, None, "x"]), max_size=1),
    st.integers(-5, LENGTH),
)
_EDITS = st.integers(0, 25)
_DEPTHS = st.sampled_from([1, 2, 3, 9])  # the events, their keys, those of `event_data`, everything


@st.composite
def malformed_events(draw: st.DrawFn) -> list[Any]:
    """Return events of several recorded streams, and things that are no events."""
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    pool = [event for name in (*names, "learned") for event in load(name).events]
    shuffled = st.lists(st.sampled_from(pool), max_size=LENGTH)
    chosen = draw(shuffled) if draw(st.booleans()) else pool[:LENGTH]
    if draw(st.booleans()):  # else an event out of order counts as repeated, and is dropped
        chosen = [event | {"counter": number} for number, event in enumerate(chosen, 1)]
    events: list[Any] = deepcopy(chosen)
    for _ in range(draw(_EDITS)):
        places = list(_places(events, draw(_DEPTHS)))
        results = [(parent, key) for parent, key in places if key == "res"]
        if places:
            in_results = bool(results) and draw(st.booleans())
            parent, key = draw(st.sampled_from(results if in_results else places))
            value = draw(_RESULTS if in_results else _JUNK)
            if value is _REMOVED:
                del parent[key]
            else:
                parent[key] = deepcopy(value)
    return events


def _places(value: Any, depth: int) -> Iterator[tuple[Any, Any]]:
    """Yield each place in a value, down to a depth: its mapping or list, and its key in it."""
    keys: Any = ()
    if isinstance(value, MutableMapping):
        keys = value
    elif isinstance(value, MutableSequence):
        keys = range(len(value))
    for key in keys:
        yield value, key
        if depth > 1:
            yield from _places(value[key], depth - 1)
