"""Runs one action plugin within another, in the same Ansible task."""

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase


def nested_action(outer: ActionBase, name: str, arguments: Mapping[str, Any]) -> ActionBase:
    """Return an action with final arguments, and with the connection, the modes and the role of the outer one."""
    task = outer._task.copy()
    task.args = dict(arguments)
    return outer._shared_loader_obj.action_loader.get(
        name,
        task=task,
        connection=outer._connection,
        play_context=outer._play_context,
        loader=outer._loader,
        templar=outer._templar,
        shared_loader_obj=outer._shared_loader_obj,
    )
