"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_released
short_description: Check that an OBProxy was released
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Looks at the host once more. Nothing of the takeover may be left there, and the OBProxy must be the process with
    which the run began.
  - Changes nothing. In check mode it does not look, since nothing was removed.
notes:
  - Check mode and diff mode are honoured by the action plugin.
options:
  managed_by:
    description: The manager that has released the OBProxy.
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
