"""The type of a parameter, derived from its value and range."""

import json
from pathlib import Path

import pytest

from service.fleet.parameters import bounds, kind_of

SIMULATED = Path(__file__).parents[1] / "lab" / "simulator" / "data" / "parameters.json"
KINDS = {"int": {"INT"}, "time": {"TIME"}, "size": {"CAPACITY"}, "bool": {"BOOL"}, "level": {"STRING"}}


@pytest.mark.parametrize(
    ("allowed", "low", "high"),
    [
        ("[0,100]", "0", "100"),
        ("(128,65535]", "128", "65535"),
        ("[1ms, 1h]", "1ms", "1h"),
        ("[1,)", "1", None),
        ("[-1,]", "-1", None),
        ("", None, None),
        ("[]", None, None),
        ("client|server", None, None),
        ("[1,2],[5,6]", None, None),
    ],
)
def test_the_ends_of_a_range(allowed: str, low: str | None, high: str | None) -> None:
    assert bounds(allowed) == (low, high)


@pytest.mark.parametrize(
    ("value", "allowed", "kind"),
    [
        ("True", "", "BOOL"),
        ("false", "", "BOOL"),
        ("4", "[1,128]", "INT"),
        ("-1", "[-1,]", "INT"),
        ("0.5", "[0,1.5]", "DOUBLE"),
        ("60s", "[1s,1h]", "TIME"),
        ("1m", "[1m, 1d]", "TIME"),
        ("0", "[0, 600s]", "TIME"),
        ("3G", "[100MB,100G]", "CAPACITY"),
        ("16K", "[0,16MB]", "CAPACITY"),
        ("3G", "", "CAPACITY"),
        ("30d", "", "TIME"),
        ("", "", "STRING"),
        ("***", "", "STRING"),
        ("192.0.2.1:2881", "", "STRING"),
        ("INFO", "", "STRING"),
    ],
)
def test_a_type(value: str, allowed: str, kind: str) -> None:
    assert kind_of(value, *bounds(allowed)) == kind


def test_the_types_of_all_parameters_that_a_real_obproxy_has() -> None:
    """Their kinds were found out by trying what can be set, so they were not read off value and range."""
    rows = json.loads(SIMULATED.read_text(encoding="utf-8"))
    wrong = {
        name: (kind, found)
        for name, kind, default, _, _, allowed, _, _ in rows
        if kind in KINDS and (found := kind_of(default, *bounds(allowed or ""))) not in KINDS[kind]
    }
    assert not wrong
