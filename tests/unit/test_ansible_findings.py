"""Failed rules as findings of a check."""

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.findings import findings, is_requested
from ansible_collections.obproxy.takeover.plugins.module_utils.rules import FailedRule

TEMPLAR = SimpleNamespace(template=lambda value: value)
DISCOVERED: dict[str, Any] = {"ansible_facts": {"obproxy": {}}}


@pytest.mark.parametrize(
    ("variables", "requested"),
    [
        ({"report_all_findings": True} | DISCOVERED, True),
        ({"report_all_findings": "True"} | DISCOVERED, True),
        ({"report_all_findings": "true"} | DISCOVERED, True),
        ({"report_all_findings": "no"} | DISCOVERED, False),
        ({"report_all_findings": False} | DISCOVERED, False),
        (DISCOVERED, False),
        ({"report_all_findings": True, "ansible_facts": {}}, False),
        ({"report_all_findings": True}, False),
    ],
    ids=str,
)
def test_a_discovered_host_reports_all_findings_on_request(variables: dict[str, Any], requested: bool) -> None:
    assert is_requested(variables, TEMPLAR) is requested


def test_findings_are_collected_in_the_fact() -> None:
    one, two = FailedRule("It holds", "it does not", "make it"), FailedRule("So does this", "no", "do")

    first = findings({"running": True}, [one])
    facts = first["ansible_facts"]["obproxy"]

    assert first == {
        "changed": False,
        "msg": str(one),
        "findings": [one.as_data()],
        "ansible_facts": {"obproxy": {"running": True, "findings": [str(one)]}},
    }
    assert findings(facts, [two])["ansible_facts"]["obproxy"]["findings"] == [str(one), str(two)]
