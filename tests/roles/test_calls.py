"""The number of calls of the host in each role of an adoption, which determines its time (docs/role-authors.md)."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.lab import Lab, LabHost
from tests.lab.fixtures import StartHost

from .playing import Play, play

MOST_PROGRAMS = 6  # on the host, of a whole adoption (design goal)
LOOK = ""  # the discovery is in no role
# Programs started on the host, connections to the OBProxy's ports; the roles that are not here need nothing.
CALLS = {
    LOOK: (1, 1),
    "prepare_create_obproxy": (1, 0),
    "sync_obproxy_parameter": (0, 1),
    "set_obproxy_user_password": (0, 1),
    "register_obproxy_exporter": (0, 1),  # to its own port
    "update_obproxy_status": (1, 1),
}


def _counting(directory: Path) -> tuple[Path, Path]:
    """Write an ssh that logs its calls, and where it does."""
    program, log = directory / "ssh", directory / "calls"
    program.write_text(f'#!/bin/sh\necho "$(date +%s.%N) $*" >> {log}\nexec ssh "$@"\n')
    program.chmod(0o755)
    return program, log


def _calls(done: Play, host: LabHost, log: Path) -> Mapping[str, tuple[int, int]]:
    ends = [(float(line["at"]), str(line["role"])) for line in done.lines[:-1] if line["host"] == host.name]
    programs, channels = Counter[str](), Counter[str]()
    for line in log.read_text().splitlines():
        moment, _, words = line.partition(" ")
        role = next(role for at, role in ends if float(moment) < at)
        (channels if " -W " in words else programs)[role] += 1
    return {role: (programs[role], channels[role]) for role in programs | channels}


def test_an_adoption_reaches_the_host_as_rarely_as_it_can(lab: Lab, lab_host: StartHost, tmp_path: Path) -> None:
    host = lab_host()
    program, log = _counting(tmp_path)
    done = play(lab, host, variables={"ansible_ssh_executable": str(program)})
    assert done.code == 0, done.failure(host)
    calls = _calls(done, host, log)
    assert calls == CALLS, log.read_text()
    assert sum(programs for programs, _ in calls.values()) <= MOST_PROGRAMS
    log.unlink()
    again = play(lab, host, variables={"ansible_ssh_executable": str(program)})
    assert again.stats(host)["changed"] == 0
    assert set(_calls(again, host, log)) <= {LOOK, "register_obproxy_exporter", "update_obproxy_status"}
