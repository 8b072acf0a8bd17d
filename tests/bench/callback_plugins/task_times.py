"""Writes the moments of a playbook run to the file that TASK_TIMES names, a line of JSON each: at, what, role, task."""

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_times
type: aggregate
short_description: Moments of a playbook run
description: Writes the moments of a playbook run to the file that TASK_TIMES names, a line of JSON each.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible is untyped
    """`at` is wall-clock time, so that it can be held against the start of the process."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, what: str, role: str = "", task: str = "") -> None:
        line = json.dumps({"at": time.time(), "what": what, "role": role, "task": task})
        with open(os.environ["TASK_TIMES"], "a") as file:  # noqa: PTH123 - one line, as late as possible
            file.write(line + "\n")

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Everything is imported and parsed."""
        self._write("playbook")

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Note that the hosts are known."""
        self._write("play")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """One Ansible task begins."""
        role = task._role.get_name() if task._role else ""
        self._write("task", role, task.get_name(include_role_fqcn=False))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Note that the last Ansible task has ended."""
        self._write("stats")
