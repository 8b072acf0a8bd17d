"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_record
short_description: Keep the state before a takeover on the host, for a rollback
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Writes the facts that a rollback needs to C(before-PORT.json), for root only. A record that is there stays, since a
    later run finds an OBProxy that was changed already.
  - Former passwords that the run knows and that are about to be replaced are in it encrypted by Ansible Vault, with the
    cluster's C(obproxy_sys_password) as the vault's password, until the takeover has finished.
notes:
  - Check mode and diff mode are honoured by the action plugin.
options:
  state:
    description:
      - C(present) writes the record, C(finished) takes the passwords out of it and removes temporary files that a
        killed run has left, C(absent) removes everything that the takeover kept on the host.
      - C(released) is C(absent), and removes the note of who manages the OBProxy too, with the copy of a former note.
    type: str
    choices: [present, finished, absent, released]
    default: present
  desired:
    description: The parameters that the takeover is about to set.
    type: dict
    default: {}
  managed_by:
    description: The manager whose note C(released) removes. The note of another one stays.
    type: str
    default: obproxy-takeover
"""

EXAMPLES = r"""
- name: Record the state before the takeover
  obproxy.takeover.obproxy_record:
    desired: "{{ obproxy_parameters }}"
"""

RETURN = r"""
failed_rules:
  description: The failed rules, each with C(rule), C(found) and C(fix). C(msg) has the same as text.
  returned: failure
  type: list
  elements: dict
"""
