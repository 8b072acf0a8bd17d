"""Callback of the scenarios: writes a line of JSON for every change and for the end of every run.

Playbooks judge a run by these lines instead of by its text.

Written to runs.jsonl in the scenario's own directory: {"run", "check", "play", "host", "changed": name of the Ansible
task}, and at the end {"run", "check", "stats": {host: {"changed": 0, ...}}}. A run is a playbook's file name.
"""

import json
import os
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible is untyped
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "runs"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._run = Path(playbook._file_name).name
        self._file = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "runs.jsonl"
        if self._run == "create.yml":
            self._file.unlink(missing_ok=True)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play.get_name()

    def v2_runner_on_ok(self, result: Any) -> None:
        if result.result.get("changed"):
            self._write(play=self._play, host=result.host.get_name(), changed=result.task.get_name())

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write(stats={host: stats.summarize(host) for host in stats.processed})

    def _write(self, **told: object) -> None:
        check = bool(context.CLIARGS.get("check"))
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"run": self._run, "check": check} | told) + "\n")
