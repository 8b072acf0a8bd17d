"""Documentation of the action plugin of the same name, which does the work; ansible-doc and ansible-lint read it."""

DOCUMENTATION = r"""
module: obproxy_steps
short_description: Run several actions as one Ansible task
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Each Ansible task costs 20 ms on the controller, even if it is skipped. Steps cost only their own work.
  - Runs the steps in their order, and templates each when its turn comes. A step sees the facts that earlier steps have
    returned.
  - The first step that fails ends the Ansible task. Its message is the message of the task, and the messages of the
    steps before it are in RV(other_messages).
  - In check mode, a step with findings does not end the task.
notes:
  - Only action plugins can be steps, not modules.
  - The steps have the check mode, the diff mode and the variables of the Ansible task.
options:
  steps:
    description:
      - The steps. Each has the full name of an action with its arguments, as an Ansible task has.
      - C(when) is a condition, or several of which all must hold. The step is left out otherwise.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Check the OBProxy and record its state
  obproxy.takeover.obproxy_steps:
    steps:
      - obproxy.takeover.obproxy_require:
          rules:
            - rule: The OBProxy runs
              that: ansible_facts.obproxy.running
              found: nothing listens at its port
              fix: start it
      - obproxy.takeover.obproxy_record:
          desired: "{{ obproxy_parameters }}"
        when: obproxy_parameters is defined
"""

RETURN = r"""
changes:
  description: The changes of all steps.
  returned: when something changes
  type: list
  elements: dict
failed_rules:
  description: The failed rules of the step that has failed, each with C(rule), C(found) and C(fix).
  returned: failure
  type: list
  elements: dict
other_messages:
  description: Messages of steps that have succeeded, when another step has failed, has findings or could not check.
  returned: when there are any
  type: list
  elements: str
"""
