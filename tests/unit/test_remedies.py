"""Remedies of failed rules: each belongs to a rule that a role or plugin has."""

from pathlib import Path

import pytest

from service.outcome import failed_rules
from service.pages.remedies import REMEDIES, Remedy, remedy_of

ROOT = Path(__file__).parents[2]
SOURCES = [
    *(path for room in ("roles", "plugins") for kind in ("*.yml", "*.py") for path in (ROOT / room).rglob(kind)),
]


@pytest.mark.parametrize("rule", REMEDIES)
def test_each_rule_exists(rule: str) -> None:
    assert any(rule in path.read_text(encoding="utf-8") for path in SOURCES)


def test_the_first_rule_with_a_remedy_decides() -> None:
    other = failed_rules.parse("Rule: The disk has free space. Found: 0. Fix: free some.")
    port = failed_rules.parse("Rule: An OBProxy listens on the SQL port. Found: none. Fix: start it.")

    assert remedy_of([None, other, port]) is Remedy.PORT
    assert remedy_of([None, other]) is None
