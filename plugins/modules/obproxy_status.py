"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_status
short_description: Check the OBProxy again and record its manager on the host
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Logs in again, reads health, version and port, and checks that the process is still the one that was taken over.
  - Then writes the local fact that names the manager of the OBProxy.
notes:
  - The action plugin supports check mode and diff mode.
  - The desired passwords are in the variables C(obproxy_sys_password) and C(obproxy_proxyro_password), the current
    ones in C(obproxy_current_sys_password) and C(obproxy_current_proxyro_password). They are never arguments, because
    callbacks can record arguments.
options:
  fact_file:
    description: Path of the local fact.
    type: path
    default: /etc/ansible/facts.d/obproxy.fact
  managed_by:
    description: Name of the manager.
    type: str
    required: true
  cluster_id:
    description: Id of the OBProxy cluster.
    type: int
    required: true
  cluster_name:
    description: Name of the OBProxy cluster.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Check the OBProxy and record its manager
  obproxy.takeover.obproxy_status:
    managed_by: obproxy-takeover
    cluster_id: 1
    cluster_name: test
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
