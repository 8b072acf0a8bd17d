"""Compares runs that are forked from a server with Ansible imported with runs that start ansible-playbook."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from service.model.settings import PROJECT, RunStart
from service.outcome.run_progress import RunEnd
from service.runs import environment
from service.runs.environment import for_run

from .test_run import PreparedRun, follow, prepare

ASKED_OF_A_PROCESS = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Look at the environment
      ansible.builtin.shell: env -0 | sort -z | tr '\\0' '\\n'
      tags: [look]
    - name: Look at the standard streams
      ansible.builtin.shell: for one in /proc/self/fd/*; do readlink $one | tr -d 0-9; done; umask; ps -o ignored= $$
      tags: [look]
    - name: Warn
      ansible.builtin.debug:
        msg: "{{ lookup('ansible.builtin.env', 'LANG') }} {{ playbook_dir }} {{ ansible_version.full }}"
      tags: [look]
    - name: Fail
      ansible.builtin.command: /no/such/program
      tags: [look]
"""

# Counts how often ansible-playbook, the first process of that name, goes to sleep while an Ansible task runs.
WAITING = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Wait
      ansible.builtin.shell: |
        process=$$
        while [ "$process" -gt 1 ]; do
          [ "$(cat /proc/$process/comm)" = ansible-playboo ] && first=$process
          process=$(ps -o ppid= -p $process | tr -d ' ')
        done
        count() { sed -n 's/^voluntary_ctxt_switches:\\s*//p' /proc/$first/status; }
        before=$(count)
        sleep 1
        echo $(($(count) - before))
      tags: [look]
"""

EVENTS = "$AWX_ISOLATED_DATA_DIR/job_events"
NO_SPACE = (
    f"lookup('ansible.builtin.pipe', 'mv {EVENTS} {EVENTS}-away; touch {EVENTS}; echo 1')",
    f"lookup('ansible.builtin.pipe', 'rm {EVENTS}; mv {EVENTS}-away {EVENTS}; echo Third')",
)
NO_PROCESS = ("lookup('fork', 'fails')", "lookup('fork', 'works')")
# At the moment when Ansible starts the second Ansible task, there is no space or no process for it.
SHORT_OF = """
- hosts: all
  gather_facts: false
  tasks:
    - name: First
      ansible.builtin.command: "true"
      tags: [look]
    - name: Second
      ansible.builtin.command: "true"
      throttle: "{{{{ {begins} }}}}"
      tags: [look]
    - name: "{{{{ {ends} }}}}"
      ansible.builtin.command: "true"
      tags: [look]
"""
FORK_PLUGIN = """
import os
from ansible.plugins.lookup import LookupBase

real_fork = os.fork

def failing_fork():
    raise BlockingIOError(11, "Resource temporarily unavailable")

class LookupModule(LookupBase):
    def run(self, terms, variables=None, **options):
        os.fork = failing_fork if terms == ["fails"] else real_fork
        return [1]
"""


async def played(prepared: PreparedRun, start: RunStart) -> tuple[list[Mapping[str, Any]], RunEnd]:
    return await follow(prepared.changed(start=start).start())


def comparable(events: list[Mapping[str, Any]]) -> list[tuple[str, str, Any, Any, Any]]:
    """Return the parts of the events that are equal in all runs of a playbook."""
    return [
        (event["event"], data.get("task", ""), data.get("task_action"), outcome(data.get("res") or {}), event["stdout"])
        for event in events
        if isinstance(data := event.get("event_data") or {}, dict)
    ]


def outcome(res: Mapping[str, Any]) -> list[Any]:
    lines = [line for line in res.get("stdout_lines") or () if not line.startswith(OWN)]
    return [lines, *(res.get(name) for name in ("changed", "failed", "msg", "rc"))]


OWN = ("ANSIBLE_LOCAL_TEMP=", "ANSIBLE_SSH_CONTROL_PATH_DIR=", "AWX_ISOLATED_DATA_DIR=", "JOB_ID=", "PWD=", "OLDPWD=")


async def test_both_starts_report_the_same_events(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepared = prepare(tmp_path, "look")
    prepared.spec.playbook.write_text(ASKED_OF_A_PROCESS, encoding="utf-8")

    forked, its_end = await played(prepared, "forked")
    plain, other_end = await played(prepared, "plain")

    assert not caplog.messages
    assert its_end.rc == other_end.rc == 2
    assert len(plain) > 10 and comparable(forked) == comparable(plain)
    assert len({event["uuid"] for event in [*forked, *plain]}) == len(forked) + len(plain)
    tasks = [{event["event_data"].get("task_uuid") for event in events} - {None} for events in (forked, plain)]
    assert tasks[0] and tasks[0].isdisjoint(tasks[1])


@pytest.mark.parametrize("start", ["forked", "plain"])
@pytest.mark.parametrize("shortage", [NO_SPACE, NO_PROCESS], ids=["space", "processes"])
async def test_a_run_that_cannot_start_an_ansible_task_ends(
    tmp_path: Path, shortage: tuple[str, str], start: RunStart
) -> None:
    prepared = prepare(tmp_path, "look")
    begins, ends = shortage
    prepared.spec.playbook.write_text(SHORT_OF.format(begins=begins, ends=ends), encoding="utf-8")
    (plugins := prepared.spec.playbook.parent / "lookup_plugins").mkdir()
    (plugins / "fork.py").write_text(FORK_PLUGIN, encoding="utf-8")

    events, end = await played(prepared, start)

    done = [event["event_data"]["task"] for event in events if event["event"] == "runner_on_ok"]
    assert (done, end.status) == (["First"], "failed")
    if shortage is NO_PROCESS:  # else the reason cannot be written either
        assert "The Ansible task 'Second' cannot be started" in " ".join(str(event.get("stdout")) for event in events)


async def test_a_forked_run_does_not_poll_for_results(tmp_path: Path) -> None:
    prepared = prepare(tmp_path, "look")
    prepared.spec.playbook.write_text(WAITING, encoding="utf-8")

    forked = wakeups(await played(prepared, "forked"))
    plain = wakeups(await played(prepared, "plain"))

    assert 0 < forked < plain / 3


def wakeups(run: tuple[list[Mapping[str, Any]], RunEnd]) -> int:
    events, end = run
    assert end.rc == 0, end
    (done,) = [event for event in events if event["event"] == "runner_on_ok"]
    return int(done["event_data"]["res"]["stdout"])


async def test_forked_runs_share_no_identity(tmp_path: Path) -> None:
    prepared = prepare(tmp_path, "say")

    (one, _), (other, _) = await asyncio.gather(played(prepared, "forked"), played(prepared, "forked"))

    tasks = [{event["event_data"].get("task_uuid") for event in events} - {None} for events in (one, other)]
    assert tasks[0] and tasks[0].isdisjoint(tasks[1])


async def test_another_environment_starts_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = prepare(tmp_path, "say")
    monkeypatch.setattr(environment, "for_run", lambda *own: {**for_run(*own), "ANSIBLE_FORKS": "3"})

    with caplog.at_level(logging.WARNING):
        _, end = await follow(prepared.start())

    assert end.rc == 0
    assert [message for message in caplog.messages if "ANSIBLE_FORKS" in message and prepared.spec.ident in message]


async def test_a_plugin_that_changed_starts_a_program(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plugin = PROJECT / "plugins" / "action" / "obproxy_require.py"
    written = plugin.stat()
    await played(prepare(tmp_path, "say"), "forked")  # the server runs
    assert not caplog.messages

    os.utime(plugin, ns=(written.st_atime_ns, written.st_mtime_ns + 1))
    try:
        _, end = await played(prepare(tmp_path, "say"), "forked")
    finally:
        os.utime(plugin, ns=(written.st_atime_ns, written.st_mtime_ns))

    assert end.rc == 0
    assert [message for message in caplog.messages if plugin.name in message]


def test_ansible_that_cannot_be_imported_is_an_obstacle_with_a_reason(tmp_path: Path) -> None:
    bad = tmp_path / "ansible.cfg"
    bad.write_text("this is no configuration", encoding="utf-8")
    ask = (
        "from service.inventory import environment, preload\n"
        f"preload.load({{**environment.common(), 'ANSIBLE_CONFIG': {str(bad)!r}}}, actions=[], others=[])\n"
        "print(preload.reason_not_to_fork({}))"
    )

    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, cwd=PROJECT, timeout=60)

    assert done.returncode == 0, done.stderr
    assert "while Ansible was preloaded" in done.stdout and str(bad) in done.stdout


def test_ansible_is_imported_whatever_the_standard_streams_are() -> None:
    ask = (
        "from service.inventory import fork_server, preload\n"
        "print(preload._failure if preload._preloaded is None else 'imported')"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        done = subprocess.run(
            [sys.executable, "-c", ask],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            stderr=theirs.fileno(),
            text=True,
            cwd=PROJECT,
            timeout=60,
        )

    assert done.stdout == "imported\n"
