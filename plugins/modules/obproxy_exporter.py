"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_exporter
short_description: Check the OBProxy's metrics exporter
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - The OBProxy must listen at the port and respond with HTTP 200. The response may be empty, because an OBProxy
    without traffic has no metrics.
  - During a hot restart no process has the port for a moment. A check that fails is therefore repeated after a new
    discovery, which waits until the new process has opened the port.
  - Changes nothing.
notes:
  - The action plugin supports check mode and diff mode.
options: {}
"""

EXAMPLES = r"""
- name: Ask the exporter
  obproxy.takeover.obproxy_exporter: {}
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
