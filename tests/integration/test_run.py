"""A run in its own process: its events, its end, and that it leaves no process or file."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.inventory.snapshot import InventorySnapshot
from service.model.errors import StartFailed
from service.model.settings import PROJECT, RunStart
from service.outcome.masking import MASK
from service.outcome.run_progress import Ended, RunEnd, begin, finish
from service.runs import directories, run
from service.runs.run import Run
from service.runs.spec import LEASE_DURATION, RunInputs, RunSpec
from tests.integration import inventories
from tests.integration.encrypted_secrets import encrypted
from tests.integration.inventories import Unsafe

DEADLINE = 60.0  # seconds any of this may take at the most

PASSWORD = 'it\'s "quoted" {{ and }} so on'  # Jinja in it is data

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Say it
      ansible.builtin.debug:
        msg: "{{ obproxy_sql_port }} {{ obproxy_cluster_name }} {{ obproxy_current_sys_password | length }}"
      tags: [say]
    - name: Look around
      ansible.builtin.command: cat /proc/self/environ
      tags: [look]
    - name: Find files with their modes
      ansible.builtin.command:
        argv: [find, "{{ lookup('env', 'TMPDIR') }}", -mindepth, "1", -printf, "%m %P\\n"]
      tags: [find]
    - name: "Tell {{ x_secret | default }}"
      ansible.builtin.debug:
        msg: ["{{ obproxy_current_sys_password }}", "{{ x_pin_password }}", "{{ x_secret }}"]
      loop: ["{{ x_secret }}"]
      tags: [tell]
    - name: Print
      ansible.builtin.command:
        argv: [echo, "{{ obproxy_current_sys_password }}", "{{ x_pin_password }}"]
      tags: [tell]
    - name: Fail
      ansible.builtin.shell: echo "$SECRET" >&2; exit 3
      environment:
        SECRET: "{{ x_secret }}"
      tags: [tell]
    - name: Sleep in two processes
      ansible.builtin.shell: sleep 987 & sleep 987
      tags: [sleep]
"""

COMPARE = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Compare what has arrived with its bytes
      ansible.builtin.assert:
        that:
          - item.0 | b64encode == item.1
          - within.yes is true and within.none is none and within['a {key'][1].number == 1.5
      loop: >-
        {{ [plain, unsafe, within['a {key'][0], given_password] | zip([expected[0]] + [expected[1]] * 3) }}
      tags: [compare]
"""

COMPARE_ONE = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Compare what has arrived with its bytes
      ansible.builtin.assert:
        that:
          - obproxy_current_sys_password | b64encode == expected
          - ansible_ssh_common_args is undefined
      tags: [compare]
"""

ATTACK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Fail as a hostile module would
      ansible.builtin.fail:
        msg: "{{ attack }}"
      tags: [attack]
"""


@dataclass(frozen=True, kw_only=True)
class PreparedRun:
    """A run that was not started yet."""

    spec: RunSpec
    snapshot: InventorySnapshot

    def start(self) -> Run:
        return run.start(self.spec, self.snapshot)

    def changed(self, **fields: Any) -> "PreparedRun":
        return replace(self, spec=replace(self.spec, **fields))

    def with_secrets(self, **secrets: str) -> "PreparedRun":
        return self.changed(inputs=replace(self.spec.inputs, encrypted_secrets=encrypted(**secrets)))

    def with_variables(self, **variables: object) -> "PreparedRun":
        """Return the same for a host with these variables."""
        source = write_inventory(self.spec.playbook.parent, **variables)
        inputs, snapshot = read_inputs(source, encrypted_secrets=self.spec.inputs.encrypted_secrets)
        return replace(self.changed(inputs=inputs), snapshot=snapshot)


def prepare(tmp_path: Path, *tags: str) -> PreparedRun:
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(PLAYBOOK, encoding="utf-8")
    inputs, snapshot = read_inputs(
        write_inventory(tmp_path), encrypted_secrets=encrypted(obproxy_current_sys_password=PASSWORD)
    )
    # No worker renews its lease, and a busy machine needs more than the lease's usual time.
    spec = RunSpec(ident="a-run", playbook=playbook, roles=tags, inputs=inputs, lease=DEADLINE)
    return PreparedRun(spec=spec, snapshot=snapshot)


def write_inventory(directory: Path, **variables: object) -> Path:
    """Return an inventory of one host with these variables, a member of one OBProxy cluster."""
    path = directory / "inventory" / "hosts.yml"
    host = {"ansible_connection": "local", "ansible_host": "x", "ocp_host_id": 1, **variables}
    cluster = {"obproxy_cluster_id": 1, "obproxy_cluster_name": "{{ 'te' + 'st' }}"}
    group = {"vars": cluster, "hosts": {"odp-1": {}}}
    inventories.write(path, {"all": {"hosts": {"odp-1": host}, "children": {"test": group}}})
    return path


def read_inputs(source: Path, **more: Any) -> tuple[RunInputs, InventorySnapshot]:
    """Host 1 and OBProxy cluster 1 of an inventory."""
    found = inventories.read_now(source)
    inputs = RunInputs(host=found.hosts[1], cluster=found.clusters[1], sql_port=2883, **more)
    return inputs, found.snapshot


async def follow(
    started: Run, on_event: Callable[[Mapping[str, Any]], None] = lambda event: None
) -> tuple[list[Mapping[str, Any]], RunEnd]:
    seen: list[Mapping[str, Any]] = []
    async with asyncio.timeout(DEADLINE):
        async for batch, end in started.batches():
            seen += batch
            for event in batch:
                on_event(event)
            if end is not None:
                return seen, end
    raise AssertionError


def left_behind(marker: str) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if marker in " ".join(p.info["cmdline"] or [])]


async def test_events_come_and_then_the_end(tmp_path: Path) -> None:
    events, end = await follow(prepare(tmp_path, "say").start())

    assert (end.rc, end.status, end.canceled, end.tree_gone) == (0, "successful", False, True)
    said = [event["event_data"]["res"]["msg"] for event in events if event["event"] == "runner_on_ok"]
    assert said == [f"2883 test {len(PASSWORD)}"]


async def test_every_event_of_ansible_carries_the_token(tmp_path: Path) -> None:
    prepared = prepare(tmp_path, "say")

    events, _ = await follow(prepared.start())

    assert {event.get("job_id") for event in events if event["event"] != "verbose"} == {prepared.spec.token}


STRANGE = "{{ 1 }} {% raw %} \\ 'it' \"is\" é \U0001f600 \x7f \x85 \u2028 \ufeff ~ # : !unsafe\t\n"


async def test_every_value_arrives_as_it_is(tmp_path: Path) -> None:
    prepared = prepare(tmp_path, "compare")
    prepared.spec.playbook.write_text(COMPARE, encoding="utf-8")
    plain = STRANGE.replace("{", "(")
    prepared = prepared.with_variables(
        plain=plain,
        unsafe=Unsafe(STRANGE),
        within={"a {key": [Unsafe(STRANGE), {"number": 1.5}], "none": None, "yes": True},
        expected=[base64.b64encode(text.encode()).decode() for text in (plain, STRANGE)],
    )
    prepared = prepared.with_secrets(given_password=STRANGE)

    _, end = await follow(prepared.start())

    assert end.rc == 0, end.last_lines


async def test_the_environment_is_scrubbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEOVER_DATABASE_URL", "postgresql://planted-secret")

    events, _ = await follow(prepare(tmp_path, "look").start())

    (environment,) = (event["event_data"]["res"]["stdout"] for event in events if event["event"] == "runner_on_ok")
    assert "LANG=C.UTF-8" in environment
    assert "planted-secret" not in environment


async def test_the_private_directory_is_private_and_removed(tmp_path: Path) -> None:
    prepared = prepare(tmp_path, "find")
    directory = directories.make()
    assert directory.stat().st_mode & 0o777 == 0o700

    events, _ = await follow(Run(prepared.spec, prepared.snapshot, directory))

    (found,) = (event["event_data"]["res"]["stdout"] for event in events if event["event"] == "runner_on_ok")
    modes = dict(reversed(line.split()) for line in found.splitlines())
    assert (modes["env"], modes["env/extravars"]) == ("700", "600")
    assert not directory.exists()


async def test_a_value_of_the_caller_is_one_value_and_no_option(tmp_path: Path) -> None:
    attack = "x\"\nansible_ssh_common_args: -oProxyCommand=x\n---\n{{ lookup('pipe', 'x') }} '"
    prepared = prepare(tmp_path, "compare")
    prepared.spec.playbook.write_text(COMPARE_ONE, encoding="utf-8")
    prepared = prepared.with_secrets(obproxy_current_sys_password=attack)
    prepared = prepared.with_variables(expected=base64.b64encode(attack.encode()).decode())

    _, end = await follow(prepared.start())

    assert end.rc == 0, end.last_lines


async def test_the_worker_gets_no_secret(tmp_path: Path) -> None:
    """In no part of the run: its output, results, names, and the error of a run that did not begin."""
    plain = prepare(tmp_path, "tell").changed(start="plain")
    prepared = plain.with_variables(x_secret="needle-in-inventory", x_pin_password=7654321)
    broken = prepared.changed(playbook=tmp_path / "needle-in-inventory.yml")

    events, end = await follow(prepared.start())
    said, refused = await follow(broken.start())

    assert end.rc == 2 and sum(event["event"] == "runner_on_ok" for event in events) == 2
    assert refused.rc == 1 and "could not be found" in refused.last_lines.replace("\n", " ")
    told = repr([events, end, said, refused])
    assert [MASK in repr(event["event_data"]) for event in events].count(True) >= 4
    for secret in (PASSWORD, repr(PASSWORD)[1:-1], json.dumps(PASSWORD)[1:-1], "needle-in-inventory", "7654321"):
        assert secret not in told


async def test_a_secret_that_cannot_be_opened_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    prepared = prepare(tmp_path, "say")
    inputs = prepared.spec.inputs
    other = replace(inputs.encrypted_secrets, keys=encrypted(any="thing").keys)

    events, end = await follow(prepared.changed(inputs=replace(inputs, encrypted_secrets=other)).start())

    assert not events and "cannot be decrypted" in end.start_error
    (failed,) = finish(begin(["one"], "odp-1"), end)
    assert isinstance(failed, Ended) and failed.code == "NOT_STARTED" and failed.message == end.start_error


async def test_cancel_ends_the_whole_tree(tmp_path: Path) -> None:
    started = prepare(tmp_path, "sleep").start()
    begun = time.monotonic()

    def cancel_when_it_sleeps(event: Mapping[str, Any]) -> None:
        if event["event"] == "runner_on_start":
            started.cancel()

    _, end = await follow(started, cancel_when_it_sleeps)

    assert end.canceled and end.tree_gone
    assert not left_behind("sleep 987")
    assert time.monotonic() - begun < DEADLINE


async def test_a_killed_child_is_an_end_without_a_result(tmp_path: Path) -> None:
    started = prepare(tmp_path, "sleep").start()
    assert started.pid

    def kill(event: Mapping[str, Any]) -> None:
        if event["event"] == "runner_on_start":
            assert started.pid
            os.kill(started.pid, 9)

    _, end = await follow(started, kill)

    assert (end.rc, end.status) == (None, None)
    assert not left_behind("sleep 987")


async def test_a_run_ends_when_its_lease_expires(tmp_path: Path) -> None:
    started = prepare(tmp_path, "sleep").changed(lease=8.0).start()
    renewed = time.monotonic() + 1.0
    started.renew(renewed)

    _, end = await follow(started)

    assert end.canceled and end.tree_gone and end.rc != 0
    assert renewed + 8.0 <= time.monotonic() < renewed + DEADLINE
    assert not left_behind("sleep 987")


async def test_a_run_with_an_expired_lease_does_nothing(tmp_path: Path) -> None:
    late = prepare(tmp_path, "say").changed(renewed=time.monotonic() - LEASE_DURATION, lease=LEASE_DURATION)

    events, end = await follow(late.start())

    assert not events and "for more than 20 s" in end.start_error


def test_a_start_without_a_tmpfs_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directories.check_tmpfs()
    monkeypatch.setattr(directories, "TMPFS", tmp_path / "none")

    with pytest.raises(StartFailed, match="/none cannot be used by this user: No such file or directory"):
        directories.check_tmpfs()


PLAYED_ALONE = """
import asyncio, sys
from dataclasses import dataclass, replace
from pathlib import Path
from service.runs import directories, run
from tests.integration.test_run import follow, prepare

directories.TMPFS = Path(sys.argv[2])
prepared = prepare(Path(sys.argv[3]), "say").changed(start=sys.argv[1])
_, end = asyncio.run(follow(prepared.start()))
sys.exit(end.rc)
"""


@pytest.mark.parametrize("start", ["forked", "plain"])
def test_a_run_leaves_nothing_in_the_temporary_directory(tmp_path: Path, start: RunStart) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with tempfile.TemporaryDirectory(prefix="t-") as memory:  # a short path, as that of memory is: of Unix sockets
        done = subprocess.run(
            [sys.executable, "-c", PLAYED_ALONE, start, memory, tmp_path],
            env={**os.environ, "TMPDIR": str(temporary)},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        left = [*temporary.iterdir(), *Path(memory).iterdir()]

    assert done.returncode == 0, done.stderr
    assert not left


async def test_a_step_of_the_clock_orphans_no_run_of_a_running_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(tmp_path, "say")
    directory = directories.make()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: time.time() - 12345)  # as after a step of the clock

    await asyncio.to_thread(run.remove_orphaned_runs)
    _, end = await follow(Run(prepared.spec, prepared.snapshot, directory))

    assert end.rc == 0


async def test_text_that_breaks_the_parser_ends_the_run(tmp_path: Path) -> None:
    prepared = prepare(tmp_path, "attack")
    forged = "\x1b[K" + base64.b64encode(b"[1]").decode() + "\x1b[4D\x1b[K"
    prepared.spec.playbook.write_text(ATTACK, encoding="utf-8")

    _, end = await follow(prepared.with_variables(attack=forged).start())

    assert end.tree_gone and end.rc != 0
