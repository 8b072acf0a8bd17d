"""Callback plugin obproxy_takeover_record: tells the takeover service of runs that were started by hand."""

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible_collections.obproxy.takeover.plugins.module_utils.position import subtask_of
from ansible_collections.obproxy.takeover.plugins.module_utils.story import Json, Story

DOCUMENTATION = r"""
name: obproxy_takeover_record
type: notification
short_description: Tells the takeover service of runs that were started by hand
author: the OBProxy takeover
version_added: "0.1.0"
description:
  - When playbooks/takeover.yml or playbooks/rollback.yml has ended, the service is told of it, host by host. It shows
    each as a task instance of type EXTERNAL, which can be read and nothing else.
  - Off unless O(url), O(access_key) and one of O(access_key_secret) and O(access_key_secret_file) are given.
  - A service that cannot be reached, or refuses, costs a warning and some seconds, never the run.
notes:
  - A run in check mode has done nothing and is not told of. A run that was killed cannot tell.
  - Messages, statuses and what was found out about the OBProxy are told; facts and arguments are not, and the values
    of variables whose names say that they are secret are taken out.
options:
  url:
    description: Where the service is, such as V(https://takeover.example.com:8080).
    type: str
    env: [{name: OBPROXY_TAKEOVER_URL}]
  access_key:
    description: The id of an access key whose user may take OBProxy servers over.
    type: str
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY}]
  access_key_secret:
    description: Its secret.
    type: str
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY_SECRET}]
  access_key_secret_file:
    description: The file that holds its secret, instead.
    type: path
    env: [{name: OBPROXY_TAKEOVER_ACCESS_KEY_SECRET_FILE}]
  time_limit:
    description: How many seconds to wait for an answer; all of them together may take as long and a second a host.
    type: float
    default: 10
    env: [{name: OBPROXY_TAKEOVER_TIME_LIMIT}]
"""

PLAYBOOKS = {
    Path(__file__).resolve().parents[2] / "playbooks" / f"{name}.yml": name for name in ("takeover", "rollback")
}


class CallbackModule(CallbackBase):  # type: ignore[misc] # Ansible is untyped
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "obproxy.takeover.obproxy_takeover_record"

    def __init__(self) -> None:
        super().__init__()
        self._start: Callable[[Any], Story] | None = None  # a story of the play that is running, if it is ours
        self._stories: dict[tuple[str, str], Story] = {}
        self._pid = os.getpid()

    def set_options(self, *args: Any, **kwargs: Any) -> None:
        super().set_options(*args, **kwargs)
        # Nothing that is started from here shall have it.
        os.environ.pop("OBPROXY_TAKEOVER_ACCESS_KEY_SECRET", None)
        secret = self.get_option("access_key_secret") or self.get_option("access_key_secret_file")
        self.disabled = not (self.get_option("url") and self.get_option("access_key") and secret)
        if not self.disabled:
            atexit.register(self._tell_interrupted)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._start = None
        playbook = PLAYBOOKS.get(Path(play.get_path().rpartition(":")[0]).resolve())
        if playbook and not context.CLIARGS["check"]:
            roles = _roles(play)
            self._start = lambda host: Story(playbook=playbook, play=play, host=host, roles=roles)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        for story in self._story(host):
            story.enter(task)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._take("runner_on_ok", "changed" if result.is_changed() else "ok", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._take("runner_on_skipped", "skipped", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._take("runner_on_failed", "ignored" if ignore_errors else "failed", result, ignore_errors=ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._take("runner_on_unreachable", "unreachable", result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._take("runner_item_on_failed", "failed item", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        stories = list(self._stories.values())
        self._stories.clear()
        ended = [(story, story.end(stats.summarize(story.host.get_name()))) for story in stories]
        runs, problems = _runs(ended)
        told: list[str] = []
        # In a thread, since nothing else puts an end to a name server that does not answer.
        thread = threading.Thread(target=self._tell, args=(runs, told, problems), daemon=True)
        thread.start()
        thread.join(self.get_option("time_limit") + len(runs))
        if thread.is_alive():
            problems.append("it takes too long to answer")
        self._report(told, problems)

    def _tell_interrupted(self) -> None:
        """Ansible has ended without statistics: by Ctrl-C, or by an error that ends everything."""
        if self._stories and os.getpid() == self._pid:
            runs, problems = _runs((story, None) for story in self._stories.values())
            told: list[str] = []
            self._tell(runs, told, problems)  # it is too late for threads
            self._report(told, problems)

    def _story(self, host: Any) -> Iterator[Story]:
        """The host's story, if the play is ours."""
        if self._start:
            new = self._start(host)
            story = self._stories.setdefault((new.playbook, host.get_name()), new)
            if story is new:
                new.tell("playbook_on_play_start", f"PLAY [{new.play.get_name()}]")
            yield story

    def _take(self, event: str, outcome: str, result: Any, **more: Any) -> None:
        for story in self._story(result.host):
            story.take(event, outcome, result, **more)

    def _tell(self, runs: list[Json], told: list[str], problems: list[str]) -> None:
        """Tell the service of `runs`, as long as it answers."""
        # Every run loads this file, few need the client.
        from ansible_collections.obproxy.takeover.plugins.module_utils.telling import NotReached, Refused, Service

        try:
            service = Service(
                url=self.get_option("url"),
                key=self.get_option("access_key"),
                secret=self._secret(),
                time_limit=self.get_option("time_limit"),
            )
            for run in runs:
                try:
                    told.append(f"{service.tell(run)} ({run['hostName']})")
                except Refused as refusal:
                    problems.append(f"{run['hostName']}: {refusal}")
        except (NotReached, OSError, UnicodeDecodeError) as error:
            problems.append(str(error))

    def _secret(self) -> str:
        file = self.get_option("access_key_secret_file")
        return self.get_option("access_key_secret") or Path(file).read_text(encoding="utf-8").strip()

    def _report(self, told: list[str], problems: list[str]) -> None:
        if told:
            recorded = f"Recorded by the takeover service as task instance {', '.join(told)}"
            self._display.display(recorded, stderr=True)  # what Ansible prints may be JSON that somebody reads
        if problems:
            whole = f"{len(problems)} of its hosts are not" if len(problems) > 1 else "This run is not"
            self._display.warning(f"{whole} recorded by {self.get_option('url')}: {problems[0]}")


def _roles(play: Any) -> list[str]:
    """Return the subtasks that a play is going to run, in order: what tags leave out is not among them."""
    tasks = [task for block in play.compile() for task in block.filter_tagged_tasks({}).get_tasks()]
    return list(dict.fromkeys(filter(None, (subtask_of(task) for task in tasks if not task.implicit))))


def _runs(stories: Iterable[tuple[Story, int | None]]) -> tuple[list[Json], list[str]]:
    """What is told of `stories`, and what hinders that."""
    runs: list[Json] = []
    problems: list[str] = []
    for story, rc in stories:
        try:
            run = story.as_run(rc)
        except (AnsibleError, ValueError, TypeError) as error:
            problems.append(f"{story.host.get_name()}: {error}")
        else:
            runs += [run] if run else []
    return runs, problems
