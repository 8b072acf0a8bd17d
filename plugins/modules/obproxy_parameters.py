"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_parameters
short_description: Bring an OBProxy's parameters to the wished values
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Compares by meaning (units, booleans, case), sets one by one with ALTER PROXYCONFIG, reads each back.
  - On the first refused value this run's former values are put back.
  - Parameters that are per server or secret are never set.
notes:
  - Check mode and diff mode are honoured by the action plugin.
  - Passwords are read from the variables C(obproxy_sys_password), C(obproxy_proxyro_password) and what the takeover
    replaces, C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password), never from arguments, which
    callbacks may record.
options:
  desired:
    description: Values by name.
    type: dict
    required: true
  allow_restart:
    description: Set parameters that act only after a restart too, and remember them as pending.
    type: bool
    default: false
  target:
    description: C(desired), or C(former) to put back what was recorded before the takeover set it.
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
