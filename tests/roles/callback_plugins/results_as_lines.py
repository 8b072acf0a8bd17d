"""Callback of the tests: every result, and the statistics at the end, as a line of JSON in $RESULTS_AS_LINES."""

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible is untyped
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "results_as_lines"

    def _write(self, line: dict[str, Any]) -> None:
        with Path(os.environ["RESULTS_AS_LINES"]).open("a") as file:
            file.write(json.dumps(line, default=str) + "\n")

    def _result(self, outcome: str, result: Any) -> None:
        role = result.task._role
        line = {
            "host": result.host.get_name(),
            "role": role.get_name() if role else "",
            "outcome": outcome,
            "at": time.time(),
        }
        self._write(line | {"task": result.task.name, "result": result.result})

    def v2_runner_on_ok(self, result: Any) -> None:
        self._result("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._result("failed", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._result("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result("unreachable", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write({"stats": {host: stats.summarize(host) for host in stats.processed}})
