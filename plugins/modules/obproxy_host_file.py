"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_host_file
short_description: Write or remove one small file on the host
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Works like M(ansible.builtin.copy) with C(content), in one round trip.
  - Writes atomically. When a later command fails, the former text is restored.
notes:
  - The action plugin supports check mode and diff mode.
options:
  path:
    description: Path of the file.
    type: path
    required: true
  content:
    description: Text of the file.
    type: str
  state:
    description: Desired state of the file.
    type: str
    choices: [present, absent]
    default: present
  mode:
    description: Mode of the file, octal.
    type: str
    default: "0644"
  directory_mode:
    description: Mode of created directories, octal.
    type: str
    default: "0755"
  replace:
    description: Replace an existing file. Otherwise it is kept.
    type: bool
    default: true
  keep:
    description: Back a former file up at the first write, and restore it at a removal.
    type: bool
    default: false
  signature:
    description:
      - Text that only the takeover's own file has. A file without it is not removed. With O(keep) it is backed up.
    type: str
    default: ""
  prune:
    description: Directories to remove if they are empty afterwards.
    type: list
    elements: path
    default: []
  as_obproxy_user:
    description:
      - Act as the user of the discovered OBProxy process instead of root. When none runs, act as C(obproxy_user).
    type: bool
    default: false
  commands:
    description: Commands to run after a change, each a list of words.
    type: list
    elements: list
    default: []
  rule:
    description: Rule that a failure names.
    type: str
    default: The file can be brought to its wanted state
  obproxy_server:
    description: Facts about the OBProxy server. They go into the result unchanged, for the service.
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
changes:
  description: >-
    What has changed on the host, or would change in check mode. Each has C(what), C(name), C(before), C(after) and
    C(needs_restart). A password has no value.
  returned: when something changes
  type: list
  elements: dict
failed_rules:
  description: The failed rules, each with C(rule), C(found) and C(fix). C(msg) has the same as text.
  returned: failure
  type: list
  elements: dict
"""
