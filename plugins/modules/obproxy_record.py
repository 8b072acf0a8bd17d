"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_record
short_description: Record the state before a takeover on the host, for a rollback
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Writes the facts that a rollback needs to C(before-PORT.json), for root only. An existing record stays, because a
    later run finds an OBProxy that was already changed.
  - Until the takeover finishes, the record has the former passwords that the run knows and replaces. Ansible Vault
    encrypts them with the cluster's C(obproxy_sys_password).
notes:
  - The action plugin supports check mode and diff mode.
options:
  state:
    description:
      - C(present) writes the record. C(finished) removes its passwords, and temporary files of a killed run. C(absent)
        removes all files of the takeover on the host.
      - C(released) also removes the note that names the manager of the OBProxy, and the backup of a former note.
    type: str
    choices: [present, finished, absent, released]
    default: present
  desired:
    description: Parameters that the takeover sets, by name.
    type: dict
    default: {}
  managed_by:
    description: Manager whose note C(released) removes. The note of another manager stays.
    type: str
    default: obproxy-takeover
"""

EXAMPLES = r"""
- name: Record the state before the takeover
  obproxy.takeover.obproxy_record:
    desired: "{{ obproxy_parameters }}"
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
