"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_require
short_description: Check rules over the facts and report every failed rule
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Checks several rules in one task, each with its own message. M(ansible.builtin.assert) has one message for all.
  - Templates the texts of a rule only when the rule fails.
  - "Reports each failed rule as C(Rule: …. Found: …. Fix: ….)"
notes:
  - The action plugin supports check mode and diff mode.
options:
  rules:
    description: The rules. All are checked, and all failed rules are reported.
    type: list
    elements: dict
    default: []
    suboptions:
      rule:
        description: The requirement, as a sentence without a full stop.
        type: str
        required: true
      that:
        description: A condition, or several of which all must hold.
        type: raw
        required: true
      found:
        description: The state found instead.
        type: str
        required: true
      fix:
        description: What an operator can do about it.
        type: str
        required: true
  rules_from:
    description:
      - Files with more rules, in the directory C(rules) of the role.
      - One of O(rules) and O(rules_from) is required.
    type: list
    elements: str
    default: []
  success:
    description: The message when all rules hold.
    type: str
  obproxy_server:
    description: Facts about the OBProxy server. They go into the result unchanged, for the service.
    type: dict
"""

EXAMPLES = r"""
- name: Check the owner
  obproxy.takeover.obproxy_require:
    rules:
      - rule: The OBProxy belongs to an ordinary user
        that: ansible_facts.obproxy.process.owner != 'root'
        found: it belongs to root
        fix: start it as admin
"""

RETURN = r"""
failed_rules:
  description: The failed rules, each with C(rule), C(found) and C(fix). C(msg) has the same as text.
  returned: failure
  type: list
  elements: dict
"""
