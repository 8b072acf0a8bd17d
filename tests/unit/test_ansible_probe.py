"""The program that looks at a host: its parts, and the whole of it on this machine as the host would run it."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.programs import (
    converge,
    drain,
    probe,
    restart,
    start,
    supervision,
    withdraw,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.remote import MARKER, answer_in, program

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


def test_listening_sockets_of_both_families() -> None:
    assert probe.listening_sockets([_TCP, _TCP6, ""]) == {2883: {"1001": 500, "1004": 501}, 22: {"1003": 0}}


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
    assert probe.keyword_of(comm, exe, arguments, ["obproxy", "obproxyd.sh"]) == keyword


@pytest.mark.parametrize(
    ("cmdline", "port"),
    [
        ("./bin/obproxy -p 2883 -n x", 2884),
        ("./bin/obproxy -p 2883 -l 3884", 3884),
        ("./bin/obproxy -o a=1,prometheus_listen_port=4884,b=2", 4884),
        ("bin/obproxy --listen_port 2883 --prometheus_listen_port 5884", 5884),
    ],
)
def test_exporter_port_of_a_command_line(cmdline: str, port: int) -> None:
    assert probe.exporter_port(cmdline) == port


def test_a_script_s_place_is_absolute() -> None:
    assert probe.script_of(["/bin/bash", "./bin/obproxyd.sh", "-c"], "/opt/x") == "/opt/x/bin/obproxyd.sh"
    assert probe.script_of(["./bin/obproxy", "-p"], "/opt/x") == ""


def test_free_space_below_a_path_that_is_not_there_yet(tmp_path: Path) -> None:
    found = probe.disk(str(tmp_path / "a" / "b"))
    assert found["free_mb"] > 0 and found["told"].endswith("MiB free") and not found["read_only"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "fact").symlink_to(tmp_path / "secret")
    assert probe.file(str(tmp_path / "fact"))["text"] is None
    assert probe.file(str(tmp_path / "secret"))["text"] == "s"


def test_leftovers_of_a_killed_run(tmp_path: Path) -> None:
    (tmp_path / (converge.TEMPORARY + "7-x")).touch()
    (tmp_path / "x").touch()
    assert probe.leftovers([str(tmp_path / "x"), str(tmp_path / "none" / "y")]) == [
        str(tmp_path / (converge.TEMPORARY + "7-x"))
    ]


def interpreters() -> list[str]:
    """This one, and of each older Python that pyenv has installed one: hosts have older ones than the controller."""
    found = {sys.version_info[:2]: sys.executable}
    for path in (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python3"):
        major, minor = path.parents[1].name.split(".")[:2]
        if minor.isdecimal() and int(minor) >= 6:
            found.setdefault((int(major), int(minor)), str(path))
    return sorted(found.values())


@pytest.mark.parametrize("python", interpreters())
@pytest.mark.parametrize("name", ["answerer", "converge", "drain", "restart", "start", "supervision", "withdraw"])
def test_programs_can_be_read_by_old_interpreters(python: str, name: str) -> None:
    text = program(name, {}).decode().rpartition("import binascii")[0]
    ended = subprocess.run([python, "-IS", "-"], input=text.encode(), capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("python", interpreters())
def test_the_whole_program_as_a_host_runs_it(tmp_path: Path, python: str) -> None:
    fact = tmp_path / "obproxy.fact"
    fact.write_text(json.dumps({"managed_by": "x"}))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        question = {
            "sql_port": port,
            "keywords": ["obproxy"],
            "commands": ["sh", "no-such-command"],
            "owner": "root",
            "directories": [str(tmp_path)],
            "files": [str(fact), str(tmp_path / "none")],
            "places": [str(tmp_path / "a" / "b" / "file")],
            "executables": ["/bin/sh", "/none"],
            "seconds": 30,
        }
        ended = subprocess.run(
            [python, "-IS", "-"], input=program("probe", question), capture_output=True, check=True, timeout=60
        )
    assert ended.stderr == b""
    found = answer_in(ended.stdout.decode())
    assert found["holders"][str(port)]["pid"] is not None
    assert found["files"] == [
        {"path": str(fact), "text": '{"managed_by": "x"}'},
        {"path": str(tmp_path / "none"), "text": None},
    ]
    assert found["executables"] == ["/bin/sh"]
    assert found["absent_directories"] == [str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    assert found["missing_commands"] == ["no-such-command"]
    assert found["host"]["architecture"] and found["disks"][0]["path"] == str(tmp_path)


@pytest.mark.parametrize("module", [probe, converge, drain, restart, start, supervision, withdraw])
def test_marker_is_the_same_on_both_sides(module: object) -> None:
    assert getattr(module, "MARKER") == MARKER  # noqa: B009 - the modules have no common type
