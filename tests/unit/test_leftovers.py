"""The check for orphaned processes reads the result of an Ansible task that its playbook has."""

import yaml

from service.runs import leftovers


def test_the_playbook_has_the_task_of_the_read_result() -> None:
    (play,) = yaml.safe_load(leftovers.PLAYBOOK.read_text(encoding="utf-8"))

    assert play["tasks"][-1]["name"] == leftovers.ANSIBLE_TASK
