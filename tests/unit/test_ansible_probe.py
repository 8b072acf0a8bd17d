"""The discovery program: its parts, and the whole program on this machine."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.host_programs import MARKER, parse_result, program_text
from ansible_collections.obproxy.takeover.plugins.module_utils.programs import (
    commands,
    converge,
    drain,
    files,
    limited_command,
    listeners,
    probe,
    process_lifetime,
    restart,
    start,
    supervision,
    undo_start,
)

from tests.waiting import until

from .conftest import SOMEBODY

_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0B43 00000000:0000 0A 00000000:00000000 00:00000000 00000000   500        0 1001 1 0 100 0 0 10 0
   1: 0100007F:0B43 0100007F:C350 01 00000000:00000000 00:00000000 00000000   500        0 1002 1 0 20 4 30 10 -1
   2: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1003 1 0 100 0 0 10 0
"""
_TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:0B43 00000000000000000000000000000000:0000 0A 0:0 00:0 0 501 0 1004 1 0
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody")
def test_a_process_is_its_user_s_and_commands_run_as_that_user() -> None:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(SOMEBODY["gid"])
        os.setuid(SOMEBODY["uid"])
        os.write(writes, b"x")
        time.sleep(60)
        os._exit(0)
    try:
        assert os.read(reads, 1) == b"x"
        comm = Path(f"/proc/{child}/comm").read_text().strip()
        found = listeners.process(child, [comm])
        assert found is not None and found["owner"] == pwd.getpwuid(SOMEBODY["uid"]).pw_name
        user = commands.user_on_host(dict(found, engine=None))
        assert user is not None and user["uid"] == SOMEBODY["uid"]
        command = limited_command.start_command(["id", "-u"], user)
        assert limited_command.output(command, time.monotonic() + 20)[1].strip() == str(SOMEBODY["uid"])
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert listeners.process(child, [comm]) is None


def test_a_process_of_several_users_is_root_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "read", lambda _path: "Name:\tsu\nUid:\t1000\t0\t0\t0\n")
    assert listeners.owner_of(1) == "root"


def test_listening_sockets_of_both_families() -> None:
    assert listeners.listening_sockets([_TCP, _TCP6, ""]) == {
        2883: {"1001": (500, "0.0.0.0"), "1004": (501, "::")},  # noqa: S104
        22: {"1003": (0, "127.0.0.1")},
    }


@pytest.mark.parametrize(
    ("comm", "exe", "arguments", "keyword"),
    [
        ("obproxy", "/opt/obproxy-1/bin/obproxy", ["./bin/obproxy"], "obproxy"),
        ("obproxyd.sh", "/usr/bin/bash", ["/bin/bash", "./bin/obproxyd.sh", "-c", "checkalive"], "obproxyd.sh"),
        ("bash", "/usr/bin/bash", ["bash", "bin/obproxyd.sh", "/home/x", "127.0.0.1", "2883"], "obproxyd.sh"),
        ("renamed", "/opt/bin/obproxy", ["x"], "obproxy"),
        ("tail", "/usr/bin/tail", ["tail", "-f", "log/obproxy.log"], None),
        ("vi", "/usr/bin/vi", ["vi", "obproxyd.sh"], None),
        ("grep", "/usr/bin/grep", ["grep", "obproxy"], None),
        ("python3", "/usr/bin/python3", ["python3", "/tmp/roles/obproxy/x.py"], None),
        ("bash", "/usr/bin/bash", ["bash", "-c", "pgrep obproxy"], None),
    ],
)
def test_keywords_match_names_and_not_arguments(comm: str, exe: str, arguments: list[str], keyword: str | None) -> None:
    assert listeners.matching_keyword(comm, exe, arguments, ["obproxy", "obproxyd.sh"]) == keyword


@pytest.mark.parametrize(
    ("cmdline", "port"),
    [
        ("./bin/obproxy -p 2883 -n x", 2884),
        ("./bin/obproxy -p 2883 -l 3884", 3884),
        ("./bin/obproxy -o a=1,prometheus_listen_port=4884,b=2", 4884),
        ("bin/obproxy --listen_port 2883 --prometheus_listen_port 5884", 5884),
        (f"./bin/obproxy -l {'9' * 5000}", 2884),
    ],
)
def test_exporter_port_of_a_command_line(cmdline: str, port: int) -> None:
    assert listeners.named_in(cmdline)["exporter_port"] == port


def _process_with(arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Return what is discovered of a process with these arguments after its name, and this environment."""
    program = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as started:
        assert started.stdin and started.stdout and started.stdout.readline()
        comm = Path(f"/proc/{started.pid}/comm").read_text().strip()
        found = listeners.process(started.pid, [comm])
        started.stdin.close()
    assert found
    return found


def test_options_after_a_long_argument_count() -> None:
    options = ",".join(["x" * 4000, "prometheus_listen_port=4884"])
    found = _process_with(["-o", options, "-p", "3883", "-n", "app"], {})
    assert found["named"] == {"sql_port": 3883, "exporter_port": 4884, "app_name": "app"}
    assert "3883" not in found["cmdline"]


def test_the_home_in_a_long_environment_counts() -> None:
    filler = {f"FILLER_{number}": "x" * 100_000 for number in range(5)}
    found = _process_with([], filler | {"OBPROXY_ROOT": "/data/obproxy", "LD_LIBRARY_PATH": "/data/lib"})
    assert (found["home"], found["library_path"]) == ("/data/obproxy", True)


def test_a_script_s_place_is_absolute() -> None:
    assert listeners.script_of(["/bin/bash", "./bin/obproxyd.sh", "-c"], "/opt/x") == "/opt/x/bin/obproxyd.sh"
    assert listeners.script_of(["./bin/obproxy", "-p"], "/opt/x") == ""


def test_free_space_below_a_path_that_is_not_there_yet(tmp_path: Path) -> None:
    found = probe.disk(str(tmp_path / "a" / "b"))
    assert found["free_mb"] > 0 and "MiB free" in found["description"] and not found["read_only"]


def test_an_unreadable_disk_has_the_same_keys(tmp_path: Path) -> None:
    found = probe.unreadable_disk("/x", PermissionError(13, "Permission denied"))
    assert found.keys() == probe.disk(str(tmp_path)).keys()
    assert found["description"] == "/x cannot be read: Permission denied"


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "fact").symlink_to(tmp_path / "secret")
    assert probe.file(str(tmp_path / "fact")) | {"path": ""} == {
        "path": "",
        "text": None,
        "error": "it is a symbolic link",
    }
    assert probe.file(str(tmp_path / "secret"))["text"] == "s"


def test_an_unreadable_file_is_not_absent(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * (64 * 1024 + 1))
    assert probe.file(str(tmp_path))["error"] == "it is no regular file"
    assert probe.file(str(tmp_path / "long"))["error"] == "it is longer than 64 KiB"
    assert probe.file(str(tmp_path / "long" / "below"))["error"] is None


def test_foreign_bytes_become_readable() -> None:
    answer = {"home": "/data/\udcca\udcfd", "list": ["\U0001f600", 1], "none": None}
    assert probe.printable(answer) == {"home": "/data/\\xca\\xfd", "list": ["\U0001f600", 1], "none": None}


def test_a_foreign_path_is_named_up_to_its_last_foreign_name() -> None:
    paths = ["/data/\udcca\udcfd/obproxy", "/data/\udcca\udcfd/obproxy/bin/obproxy", "/data/\u6570/x", ""]
    assert probe.non_utf8_paths(paths) == ["/data/\udcca\udcfd"]
    assert probe.non_utf8_paths(["/\udcca/b/x\udcfdy/c"]) == ["/\udcca/b/x\udcfdy"]


def test_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    (tmp_path / (files.TEMPORARY + "7-x")).touch()
    (tmp_path / "x").touch()
    assert probe.leftovers([str(tmp_path / "x"), str(tmp_path / "none" / "y")]) == [
        str(tmp_path / (files.TEMPORARY + "7-x"))
    ]


def interpreters() -> list[str]:
    """Return this interpreter and one of each older Python in pyenv: hosts have older ones than the controller."""
    found = {sys.version_info[:2]: sys.executable}
    for path in (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python3"):
        major, minor = path.parents[1].name.split(".")[:2]
        if minor.isdecimal() and int(minor) >= 6:
            found.setdefault((int(major), int(minor)), str(path))
    return sorted(found.values())


@pytest.mark.parametrize("python", interpreters())
@pytest.mark.parametrize(
    "name", ["answering_process", "converge", "drain", "homes", "restart", "start", "supervision", "undo_start"]
)
def test_programs_can_be_read_by_old_interpreters(python: str, name: str) -> None:
    text = program_text(name, {}).decode().rpartition("import binascii")[0]
    ended = subprocess.run([python, "-IS", "-"], input=text.encode(), capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("python", interpreters())
def test_the_whole_program_as_a_host_runs_it(home: Path, python: str) -> None:
    tmp_path = home.parent
    fact = tmp_path / "obproxy.fact"
    fact.write_text(json.dumps({"managed_by": "x"}))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        question = {
            "sql_port": port,
            "keywords": ["obproxy"],
            "commands": ["sh", "no-such-command"],
            "owner": pwd.getpwuid(os.geteuid() or SOMEBODY["uid"]).pw_name,
            "directories": [str(tmp_path)],
            "files": [str(fact), str(tmp_path / "none")],
            "places": [str(tmp_path / "a" / "b" / "file")],
            "executables": ["/bin/sh", "/none"],
            "seconds": 30,
        }
        ended = subprocess.run(
            [python, "-IS", "-"], input=program_text("probe", question), capture_output=True, check=True, timeout=60
        )
    assert ended.stderr == b""
    found = parse_result(ended.stdout.decode())
    assert found["holders"][str(port)]["pid"] is not None
    assert found["files"] == [
        {"path": str(fact), "text": '{"managed_by": "x"}', "error": None},
        {"path": str(tmp_path / "none"), "text": None, "error": None},
    ]
    assert found["executables"] == ["/bin/sh"]
    assert found["absent_directories"] == [str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    assert found["missing_commands"] == ["no-such-command"]
    assert found["host"]["architecture"] and found["disks"][0]["path"] == str(tmp_path)


@pytest.mark.parametrize("module", [probe, converge, drain, restart, start, supervision, undo_start])
def test_marker_is_the_same_on_both_sides(module: object) -> None:
    assert getattr(module, "MARKER") == MARKER  # noqa: B009 - the modules have no common type


def _end_of(script: str, seconds: float = 20) -> tuple[int | None, str, str]:
    return limited_command.output(limited_command.start_command(["/bin/sh", "-c", script]), time.monotonic() + seconds)


def test_a_command_ends_before_its_background_processes() -> None:
    begun = time.monotonic()
    assert _end_of("setsid sleep 30 & echo done") == (0, "done\n", "")
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("sleep 30", "did not end within its time limit"),
        ("setsid sleep 30 & exec sleep 30", "did not end within its time limit"),
        ("yes", "printed more than 64 KiB"),
        ("yes >&2", "printed more than 64 KiB"),
        ("exec >&- 2>&-; sleep 30", "did not end within its time limit"),
    ],
)
def test_a_command_without_end_is_ended(script: str, reason: str) -> None:
    status, _, why = _end_of(script, 0.5)
    assert status is None and reason in why


def hanging_login(pids: Path) -> str:
    """Return a script that hangs as `su` does under a profile that hangs, and writes the pids of its processes.

    They are: the shell in a session of its own, a child of it, and an orphan in its session.
    """
    profile = f"echo $$ >>{pids}; (sleep 1000 & echo $! >>{pids}); sleep 1000 & echo $! >>{pids}; wait"
    return f"setsid sh -c '{profile}' & wait"


def all_pids(pids: Path) -> list[int] | None:
    """Return the pids that a hanging login has written, None before it has written all."""
    found = pids.read_text().split() if pids.exists() else []
    return [int(pid) for pid in found] if len(found) == 3 else None


def test_a_command_that_is_ended_leaves_no_process_of_its_sessions(tmp_path: Path) -> None:
    command = limited_command.start_command(["/bin/sh", "-c", hanging_login(tmp_path / "pids")])
    processes = until(lambda: all_pids(tmp_path / "pids"), "the login shell does not run")
    assert limited_command.output(command, 0)[0] is None
    until(lambda: not any(map(process_lifetime.start_time, processes)), "its processes still run")


def test_a_later_process_with_the_same_pid_gets_no_signal() -> None:
    later = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    since = process_lifetime.start_time(later.pid)
    assert since is not None
    process_lifetime.send(signal.SIGKILL, {later.pid: since - 1})
    assert (later.communicate(b"it lives")[0], later.returncode) == (b"it lives", 0)


def test_a_start_ends_a_login_shell_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    su, pids = tmp_path / "su", tmp_path / "pids"
    su.write_text(f"#!/bin/sh\n{hanging_login(pids)}\n")
    su.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    wait = subprocess.Popen.wait

    def wait_until_all_run(shell: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout is not None:
            until(lambda: all_pids(pids), "the login shell does not run")
        return wait(shell, None if timeout is None else 0)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_until_all_run)
    assert start.launch({"home": "/", "has_libraries": False}, "admin", ["true"], {}, 5) is False
    processes = all_pids(pids)
    assert processes
    until(lambda: not any(map(process_lifetime.start_time, processes)), "its processes still run")


def test_a_command_s_bytes_and_errors_are_kept() -> None:
    assert _end_of(r"printf '\273\266'; echo refused >&2; exit 3") == (3, "\ufffd\ufffd", "refused")
    assert limited_command.output(limited_command.start_command(["/no/such"]), 0)[0] is None


@pytest.mark.parametrize(
    ("script", "checked", "error"),
    [
        ("echo missing:nc; echo checked:all", True, None),
        ("exec true", False, "its profile ended or replaced the shell before the command"),
        ("echo expired >&2; exit 1", False, "expired"),
        ("exit 3", False, "exit status 3"),
    ],
)
def test_commands_on_an_unreadable_path_are_not_missing(script: str, checked: bool, error: str | None) -> None:
    command = limited_command.start_command(["/bin/sh", "-c", script])
    found = commands.missing_commands(command, time.monotonic() + 20)
    assert (found["commands_checked"], found["commands_error"]) == (checked, error)
    assert found["missing_commands"] == (["nc"] if checked else [])


@pytest.mark.parametrize(
    ("installed", "owning", "package", "error"),
    [
        ("echo obproxy-1", "echo obproxy-1", "obproxy-1", None),
        ("true", "echo 'file /x is not owned by any package'; exit 1", None, None),
        ("echo 'error: cannot open Packages' >&2; exit 1", "exit 1", None, "error: cannot open Packages"),
        ("true", "echo 'error: rpmdb: damaged header' >&2; exit 1", None, "error: rpmdb: damaged header"),
    ],
)
def test_a_broken_package_database_is_not_an_empty_one(
    installed: str, owning: str, package: str | None, error: str | None
) -> None:
    start_time = [limited_command.start_command(["/bin/sh", "-c", script]) for script in (installed, owning)]
    found = commands.packages(start_time[0], start_time[1], time.monotonic() + 20)
    assert (found["package"], found["packages_error"]) == (package, error)
    none = limited_command.start_command(["/no/such/rpm"])
    assert commands.packages(none, none, 0) == {"packages": [], "package": None, "packages_error": None}
