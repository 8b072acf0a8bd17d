"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_package
short_description: Judge the OBProxy's package, or install one where there is none
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - An OBProxy of another package or version than wanted is adopted as it is and told as drift.
  - Never installs over a live OBProxy or over an installed package.
notes:
  - Check mode and diff mode are honoured by the action plugin.
options:
  name:
    description: The wanted package.
    type: str
    required: true
  version:
    description: The wanted VERSION-BUILD.
    type: str
    default: ""
  state:
    description: C(absent) is for the rollback of an install.
    type: str
    choices: [present, absent]
    default: present
  allow:
    description: The consent to install.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Judge the package
  obproxy.takeover.obproxy_package:
    name: obproxy
    version: 4.3.1.0-1
"""

RETURN = r"""
obproxy_server:
  description: What the service is to know about the OBProxy server.
  returned: success
  type: dict
failed_rules:
  description: The failed rules, each with C(rule), C(found) and C(fix). C(msg) has the same as text.
  returned: failure
  type: list
  elements: dict
"""
