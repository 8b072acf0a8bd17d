"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_status
short_description: Check the OBProxy once more and sign the host
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Logs in anew, asks for health, version and port, and sees that the process is still the one that was taken over.
  - Then writes the local fact that says who manages the OBProxy.
notes:
  - Check mode and diff mode are honoured by the action plugin.
  - Passwords are read from the variables C(obproxy_sys_password), C(obproxy_proxyro_password) and what the takeover
    replaces, C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password), never from arguments, which
    callbacks may record.
options:
  fact_file:
    description: The local fact.
    type: path
    default: /etc/ansible/facts.d/obproxy.fact
  managed_by:
    description: The manager's name.
    type: str
    required: true
  cluster_id:
    description: The OBProxy cluster's id.
    type: int
    required: true
  cluster_name:
    description: The OBProxy cluster's name.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Check once more and sign
  obproxy.takeover.obproxy_status:
    managed_by: obproxy-takeover
    cluster_id: 1
    cluster_name: test
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
