"""The stdout callback of a run: ansible-runner's own, with the position of each Ansible task added to its events.

ansible-runner prescribes the name and searches the file in the directory AWX_LIB_DIRECTORY.
"""

import functools
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleError
from ansible.executor.process.worker import WorkerProcess
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


def _end_run_on_os_error(function: Callable[..., None], problem: str) -> Callable[..., None]:
    """Return the function with an error that ends the run in place of an OSError, such as for a full disk.

    Where Ansible starts an Ansible task, it takes an OSError for the end of the run: it leaves this task out and
    continues with the next. So the subtask would be SUCCESSFUL without having run.
    """

    @functools.wraps(function)
    def ending(*arguments: Any) -> None:
        try:
            function(*arguments)
        except OSError as error:
            raise AnsibleError(f"{problem}: {error}") from error

    return ending


WorkerProcess.start = _end_run_on_os_error(WorkerProcess.start, "An Ansible task cannot be started")
awx_display.IsolatedFileWrite.set = _end_run_on_os_error(
    awx_display.IsolatedFileWrite.set, "An event of the run cannot be written"
)


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
