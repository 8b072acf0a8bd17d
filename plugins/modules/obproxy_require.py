"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_require
short_description: Check rules over the facts and tell every one that does not hold
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Like M(ansible.builtin.assert), for several rules in one task, each with its own words.
  - The words are templated only when the rule does not hold.
notes:
  - Check mode and diff mode are honoured by the action plugin.
options:
  rules:
    description: The rules; all are checked, all broken ones are told.
    type: list
    elements: dict
    default: []
    suboptions:
      rule:
        description: What must be true, as a sentence without full stop.
        type: str
        required: true
      that:
        description: A condition, or several of which all must hold.
        type: raw
        required: true
      found:
        description: What was found instead.
        type: str
        required: true
      remedy:
        description: What a person can do about it.
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
    description: The message when all hold.
    type: str
  obproxy_server:
    description: Goes into the result as it is, for the service.
    type: dict
"""

EXAMPLES = r"""
- name: Check the owner
  obproxy.takeover.obproxy_require:
    rules:
      - rule: The OBProxy belongs to an ordinary user
        that: ansible_facts.obproxy.process.owner != 'root'
        found: it belongs to root
        remedy: start it as admin
"""

RETURN = r"""
broken:
  description: The rules that do not hold, each with rule, found and remedy; msg tells the same to people.
  returned: failure
  type: list
  elements: dict
"""
