"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_host_file
short_description: Bring one small file on the host to its wanted text
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Like M(ansible.builtin.copy) with C(content), in one light round trip.
  - Writes atomically; when a command afterwards fails the former text comes back.
notes:
  - Check mode and diff mode are honoured by the action plugin.
options:
  path:
    description: The file.
    type: path
    required: true
  content:
    description: Its text.
    type: str
  state:
    description: Whether it shall be there.
    type: str
    choices: [present, absent]
    default: present
  mode:
    description: Its mode, octal.
    type: str
    default: "0644"
  directory_mode:
    description: The mode of directories that have to be made.
    type: str
    default: "0755"
  replace:
    description: Whether a file that is there may be replaced.
    type: bool
    default: true
  keep:
    description: Put a former file aside at the first write, and back at a removal.
    type: bool
    default: false
  signature:
    description: What only the takeover's own file holds; one without it is not removed, and put aside if I(keep).
    type: str
    default: ""
  prune:
    description: Directories to remove when they are empty afterwards.
    type: list
    elements: path
    default: []
  as_obproxy_user:
    description: Act as the user of the discovered OBProxy's process instead of root; as obproxy_user when none runs.
    type: bool
    default: false
  commands:
    description: Commands to run after a change, each a list of words.
    type: list
    elements: list
    default: []
  rule:
    description: The rule that a failure is told with.
    type: str
    default: The file can be brought to its wanted state
  obproxy_server:
    description: Goes into the result as it is, for the service.
    type: dict
"""

EXAMPLES = r"""
- name: Keep a note
  obproxy.takeover.obproxy_host_file:
    path: /var/lib/obproxy-takeover/note
    content: "text"
    mode: "0600"
"""

RETURN = r"""
failed_rules:
  description: The failed rules, each with C(rule), C(found) and C(fix). C(msg) has the same as text.
  returned: failure
  type: list
  elements: dict
"""
