"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_released
short_description: Check that an OBProxy was released
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Runs the discovery again. The host must have no files of the takeover, and the OBProxy must be the same process as
    at the start of the run.
  - Changes nothing. Does nothing in check mode, in which nothing was removed.
notes:
  - The action plugin supports check mode and diff mode.
options:
  managed_by:
    description: Manager that has released the OBProxy.
    type: str
    default: obproxy-takeover
"""

EXAMPLES = r"""
- name: Check that the OBProxy was released
  obproxy.takeover.obproxy_released: {}
"""

RETURN = r"""
failed_rules:
  description: The failed rules, each with C(rule), C(found) and C(fix). C(msg) has the same as text.
  returned: failure
  type: list
  elements: dict
"""
