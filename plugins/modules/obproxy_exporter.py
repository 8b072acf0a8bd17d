"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_exporter
short_description: Ask the OBProxy's metrics exporter
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - The port must be held by the OBProxy and answer with HTTP 200. Lines are not demanded, since an
    OBProxy without traffic has none.
  - Changes nothing.
notes:
  - Check mode and diff mode are honoured by the action plugin.
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
