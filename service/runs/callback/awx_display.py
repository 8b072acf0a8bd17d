"""The stdout callback of a run: ansible-runner's own, with the position of each Ansible task added to its events.

ansible-runner prescribes the name and searches the file in the directory AWX_LIB_DIRECTORY.
"""

import functools
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.strategy import StrategyBase
from ansible_collections.obproxy.takeover.plugins.module_utils.task_position import delegate_of, position
from ansible_runner.display_callback.callback import awx_display

DOCUMENTATION = r"""
name: awx_display
type: stdout
short_description: Writes the events of a run for ansible-runner, with the position of each Ansible task
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Adds to each event of an Ansible task the subtask that it belongs to, the blocks that it stands in, and the host
    that it was delegated to.
extends_documentation_fragment: default_callback
"""


def _require_start(queue_task: Callable[..., None]) -> Callable[..., None]:
    """Return the function that starts an Ansible task, with an error that ends the run if it has not started it.

    Ansible takes an OSError there for the end of the run, also that of a full disk or of too many processes. It leaves
    the task out and continues with the next. So the subtask would be SUCCESSFUL without having run.
    """

    @functools.wraps(queue_task)
    def queue(strategy: StrategyBase, host: Any, task: Any, *arguments: Any) -> None:
        running = strategy._pending_results
        queue_task(strategy, host, task, *arguments)
        if strategy._pending_results == running:
            raise AnsibleError(
                f"The Ansible task {task.get_name()!r} cannot be started. "
                "Check the disk space, the memory and the number of processes of the worker's machine."
            )

    return queue


StrategyBase._queue_task = _require_start(StrategyBase._queue_task)


class CallbackModule(awx_display.CallbackModule):  # type: ignore[misc] # Ansible is untyped
    CALLBACK_NAME = "awx_display"

    def set_task(self, task: Any, local: bool = False) -> None:
        super().set_task(task, local)
        context = awx_display.event_context
        (context.add_local if local else context.add_global)(**position(task))

    def clear_task(self, local: bool = False) -> None:
        super().clear_task(local)
        context = awx_display.event_context
        (context.remove_local if local else context.remove_global)(subtask=None, blocks=None)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        with awx_display.event_context.set_local(delegate=delegate_of(result)):
            super().v2_runner_on_failed(result, ignore_errors=ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        with awx_display.event_context.set_local(delegate=delegate_of(result)):
            super().v2_runner_on_unreachable(result)
