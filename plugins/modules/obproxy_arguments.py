"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_arguments
short_description: Check the variables of a play by an argument spec
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Checks the same as the play keyword C(validate_argspec), but as a step of another Ansible task.
  - Changes nothing.
notes:
  - The action plugin supports check mode and diff mode.
options:
  spec:
    description:
      - Name of the argument spec. It is in the file of the same name with the ending C(.meta.yml), in the directory of
        the playbook.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Check the variables of a takeover
  obproxy.takeover.obproxy_arguments:
    spec: takeover
"""

RETURN = r"""
argument_errors:
  description: What is wrong with the variables, one text for each error.
  returned: failure
  type: list
  elements: str
"""
