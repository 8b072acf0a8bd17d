"""The rules with a remedy are rules of the roles and plugins: a changed text of a rule would lose its remedy."""

import pytest

from service.model.settings import PROJECT
from service.pages.remedies import REMEDIES

SOURCES = [
    *(path for kind in ("rules", "tasks") for path in (PROJECT / "roles").glob(f"*/{kind}/*.yml")),
    *(PROJECT / "plugins" / "action").glob("*.py"),
]


@pytest.mark.parametrize("rule", REMEDIES)
def test_a_rule_with_a_remedy_is_checked_somewhere(rule: str) -> None:
    assert any(rule in path.read_text(encoding="utf-8") for path in SOURCES)
