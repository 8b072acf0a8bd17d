"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_package
short_description: Check the OBProxy's package, or install it where none is installed
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - An OBProxy of another package or version than the desired one is adopted unchanged and reported as drift.
  - Never installs over a live OBProxy or over an installed package.
notes:
  - The action plugin supports check mode and diff mode.
options:
  name:
    description: Name of the desired package.
    type: str
    required: true
  version:
    description: Desired version as VERSION-BUILD.
    type: str
    default: ""
  state:
    description: C(absent) rolls an installation back.
    type: str
    choices: [present, absent]
    default: present
  allow:
    description: Permission to install the package.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Check the package
  obproxy.takeover.obproxy_package:
    name: obproxy
    version: 4.3.1.0-1
"""

RETURN = r"""
changes:
  description: >-
    What has changed on the host, or would change in check mode. Each has C(what), C(name), C(before), C(after) and
    C(needs_restart). A password has no value.
  returned: when something changes
  type: list
  elements: dict
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
