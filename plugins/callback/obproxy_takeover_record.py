"""Callback plugin obproxy_takeover_record: reports external runs to the takeover service."""

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible_collections.obproxy.takeover.plugins.module_utils.run_recorder import Json, RunRecorder
from ansible_collections.obproxy.takeover.plugins.module_utils.task_position import subtask_of

DOCUMENTATION = r"""
name: obproxy_takeover_record
type: notification
short_description: Report external runs to the takeover service
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - Reports each host to the service after a playbook that meta/workflows.yml names, such as playbooks/takeover.yml. The
    service shows each report as a read-only task instance of type EXTERNAL.
  - Disabled unless O(url), O(access_key) and one of O(access_key_secret) and O(access_key_secret_file) are set.
  - A service that is unreachable or rejects the report causes a warning. It never fails the run.
notes:
  - Runs in check mode are not reported. A run that was killed cannot be reported.
  - The report contains messages, statuses and the properties of the OBProxy server. It contains no facts and no
    arguments. Values of variables with secret names are masked.
options:
  url:
    description: The URL of the service, such as V(https://takeover.example.com:8080).
    type: str
    env: [{name: OBPROXY_TAKEOVER_URL}]
  access_key:
    description: The id of an access key. Its user needs the permission to take over OBProxy servers.
    type: str
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY}]
  access_key_secret:
    description: The secret of the access key.
    type: str
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY_SECRET}]
  access_key_secret_file:
    description: A file with the secret of the access key. Used if O(access_key_secret) is not set.
    type: path
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY_SECRET_FILE}]
  time_limit:
    description: The timeout of one request in seconds. All requests together may take one second more per host.
    type: float
    default: 10
    env: [{name: OBPROXY_TAKEOVER_TIME_LIMIT}]
"""

PROJECT = Path(__file__).resolve().parents[2]


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible is untyped
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "obproxy.takeover.obproxy_takeover_record"

    def __init__(self) -> None:
        super().__init__()
        self._new_recorder: Callable[[Any], RunRecorder] | None = None  # None outside the takeover's plays
        self._recorders: dict[tuple[str, str], RunRecorder] = {}
        self._pid = os.getpid()

    def set_options(self, *args: Any, **kwargs: Any) -> None:
        super().set_options(*args, **kwargs)
        # Child processes must not inherit the secret.
        os.environ.pop("OBPROXY_TAKEOVER_ACCESS_KEY_SECRET", None)
        secret = self.get_option("access_key_secret") or self.get_option("access_key_secret_file")
        self.disabled = not (self.get_option("url") and self.get_option("access_key") and secret)
        if not self.disabled:
            atexit.register(self._report_interrupted)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._new_recorder = None
        playbook = Path(play.get_path().rpartition(":")[0]).resolve()
        if playbook in _playbooks() and not context.CLIARGS["check"]:
            roles = _roles(play)
            self._new_recorder = lambda host: RunRecorder(playbook=playbook.stem, play=play, host=host, roles=roles)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        for recorder in self._recorder_of(host):
            recorder.start_task(task)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._add_result("runner_on_ok", "changed" if result.is_changed() else "ok", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._add_result("runner_on_skipped", "skipped", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        outcome = "ignored" if ignore_errors else "failed"
        self._add_result("runner_on_failed", outcome, result, ignore_errors=ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._add_result("runner_on_unreachable", "unreachable", result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._add_result("runner_item_on_failed", "failed item", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        recorders = list(self._recorders.values())
        self._recorders.clear()
        ended = [(recorder, recorder.end(stats.summarize(recorder.host.get_name()))) for recorder in recorders]
        runs, problems = _runs(ended)
        reported: list[str] = []
        # In a thread: name resolution has no timeout of its own.
        thread = threading.Thread(target=self._report_runs, args=(runs, reported, problems), daemon=True)
        thread.start()
        thread.join(self.get_option("time_limit") + len(runs))
        if thread.is_alive():
            problems.append("no answer within the time limit")
        self._show_outcome(reported, problems)

    def _report_interrupted(self) -> None:
        """Report the runs when Ansible ends without statistics: after Ctrl-C, or after a fatal error."""
        if self._recorders and os.getpid() == self._pid:
            runs, problems = _runs((recorder, None) for recorder in self._recorders.values())
            reported: list[str] = []
            self._report_runs(runs, reported, problems)  # it is too late for threads
            self._show_outcome(reported, problems)

    def _recorder_of(self, host: Any) -> Iterator[RunRecorder]:
        """Yield the recorder of a host, if the play belongs to the takeover."""
        if self._new_recorder:
            new = self._new_recorder(host)
            recorder = self._recorders.setdefault((new.playbook, host.get_name()), new)
            if recorder is new:
                new.add_event("playbook_on_play_start", f"PLAY [{new.play.get_name()}]")
            yield recorder

    def _add_result(self, event: str, outcome: str, result: Any, **more: Any) -> None:
        for recorder in self._recorder_of(result.host):
            recorder.add_result(event, outcome, result, **more)

    def _report_runs(self, runs: list[Json], reported: list[str], problems: list[str]) -> None:
        """Report `runs` to the service until a request fails."""
        # Imported here: every run loads this plugin, but few need the client.
        from ansible_collections.obproxy.takeover.plugins.module_utils.external_runs import ExternalRunClient
        from ansible_collections.obproxy.takeover.plugins.module_utils.service_client import (
            RequestRejected,
            ServiceUnreachable,
        )

        try:
            client = ExternalRunClient(
                url=self.get_option("url"),
                key=self.get_option("access_key"),
                secret=self._secret(),
                time_limit=self.get_option("time_limit"),
            )
            for run in runs:
                try:
                    reported.append(f"{client.record(run)} ({run['hostName']})")
                except RequestRejected as error:
                    problems.append(f"{run['hostName']}: {error}")
        except (ServiceUnreachable, OSError, UnicodeDecodeError) as error:
            problems.append(str(error))

    def _secret(self) -> str:
        file = self.get_option("access_key_secret_file")
        return self.get_option("access_key_secret") or Path(file).read_text(encoding="utf-8").strip()

    def _show_outcome(self, reported: list[str], problems: list[str]) -> None:
        if reported:
            recorded = f"Recorded by the takeover service as task instance {', '.join(reported)}"
            self._display.display(recorded, stderr=True)  # standard output may be JSON
        if problems:
            whole = f"{len(problems)} of its hosts are not" if len(problems) > 1 else "This run is not"
            self._display.warning(f"{whole} recorded by {self.get_option('url')}: {problems[0]}")


def _playbooks() -> set[Path]:
    """Return the playbooks of the workflows."""
    workflows = yaml.safe_load((PROJECT / "meta" / "workflows.yml").read_text(encoding="utf-8"))
    names = [workflow.get(kind) for workflow in workflows.values() for kind in ("playbook", "rollback")]
    return {PROJECT / "playbooks" / name for name in names if name}


def _roles(play: Any) -> list[str]:
    """Return the subtasks of a play in order, without those that tags exclude."""
    tasks = [task for block in play.compile() for task in block.filter_tagged_tasks({}).get_tasks()]
    return list(dict.fromkeys(filter(None, (subtask_of(task) for task in tasks if not task.implicit))))


def _runs(recorders: Iterable[tuple[RunRecorder, int | None]]) -> tuple[list[Json], list[str]]:
    """Return the external runs of `recorders`, and the errors of those that cannot be reported."""
    runs: list[Json] = []
    problems: list[str] = []
    for recorder, rc in recorders:
        try:
            run = recorder.as_external_run(rc)
        except (AnsibleError, ValueError, TypeError) as error:
            problems.append(f"{recorder.host.get_name()}: {error}")
        else:
            runs += [run] if run else []
    return runs, problems
