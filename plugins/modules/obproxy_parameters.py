"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_parameters
short_description: Set an OBProxy's parameters to the desired values
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Compares values by their meaning (units, booleans, case), sets each with ALTER PROXYCONFIG and reads it back.
  - When the OBProxy rejects a value, the former values of this run are restored.
  - Never sets secret parameters and parameters of single servers.
notes:
  - The action plugin supports check mode and diff mode.
  - The desired passwords are in the variables C(obproxy_sys_password) and C(obproxy_proxyro_password), the current
    ones in C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password). They are never arguments, because
    callbacks can record arguments.
options:
  desired:
    description: Desired values by parameter name.
    type: dict
    required: true
  allow_restart:
    description: Also set parameters that take effect only after a restart, and record them as pending.
    type: bool
    default: false
  target:
    description: C(desired) sets the desired values. C(former) restores the values recorded before the takeover.
    type: str
    choices: [desired, former]
    default: desired
"""

EXAMPLES = r"""
- name: Bring the parameters to the cluster's values
  obproxy.takeover.obproxy_parameters:
    desired:
      proxy_mem_limited: 2G
"""

RETURN = r"""
changes:
  description: >-
    What has changed on the host, or would change in check mode. Each has C(what), C(name), C(before), C(after) and
    C(needs_restart). A password has no value.
  returned: when something changes
  type: list
  elements: dict
stays:
  description: What could not be put back, by name and with the reason.
  returned: success
  type: list
  elements: str
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
