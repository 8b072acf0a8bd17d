"""Reports failed rules as findings in check mode, so that the run continues and finds all of them.

A playbook requests this with the variable `report_all_findings`. The fact `obproxy` collects the findings; the last
Ansible task of the playbook fails if there are any.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .rules import FailedRule, message_of

VARIABLE = "report_all_findings"


def is_requested(task_vars: Mapping[str, Any], templar: Any) -> bool:
    """Return whether the playbook wants all findings, and the host was discovered."""
    value = templar.template(task_vars.get(VARIABLE, False))
    return value in (True, "True", "true") and "obproxy" in task_vars.get("ansible_facts", {})


def findings(facts: Mapping[str, Any], failed: Sequence[FailedRule]) -> dict[str, Any]:
    """Return an ok result that reports failed rules; `facts` is the fact `obproxy`."""
    collected = [*facts.get("findings", []), *map(str, failed)]
    return {
        "changed": False,
        "msg": message_of(failed),
        "findings": [rule.as_data() for rule in failed],
        "ansible_facts": {"obproxy": {**facts, "findings": collected}},
    }
