"""Every path of an ordinary user that a takeover reaches, under attack by that user: root never acts there."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.host_programs import MARKER, program_text

from tests.roles.playing import play

from . import Lab, situations
from .host import HostSpec, LabHost
from .hostile_paths import ATTACKS, MARK, SECRET, TRAP, WHO, Outcome, attack
from .reached import Reach, changeable, is_below, reached, record
from .test_first_start import BY_LIST
from .test_restart import LEGACY, RESTART

AGENT, OBD, SECOND = "/home/admin/ocp_agent", situations.OBD_HOME, "/home/admin/second"
FILE, CONTROL = f"{AGENT}/conf/module_config/obproxy.yaml", f"{AGENT}/bin/ocp_agentctl"
Json = dict[str, Any]
LIMIT = 25.0  # seconds in which a program ends, whatever a path is
_FIRST_HOST_ID = 7600
# Paths that a takeover, a start, a restart, a rollback and a release use below directories of an ordinary user, and the
# program that runs while the path is attacked. H is the home of an OBProxy, PID a process, ADDRESS the host's.
PATHS = {
    AGENT: "agent",
    f"{AGENT}/bin": "agent",
    CONTROL: "agent",
    f"{AGENT}/conf": "agent",
    f"{AGENT}/conf/module_config": "agent-back",
    FILE: "agent",
    f"{FILE}.before-takeover": "agent-back",
    f"{FILE}.untold": "agent",
    f"{AGENT}/conf/module_config/.obproxy-takeover-PID-obproxy.yaml": "agent",
    "H": "start",
    "H/bin": "start",
    "H/bin/obproxy": "start",
    "H/bin/obproxyd.sh": "start",
    "H/lib": "start",
    "H/etc": "start",
    "H/log": "undo_start",
    "H/.conf": "undo_start",
    "H/control-config": "undo_start",
    "H/sharding-config": "undo_start",
    f"{OBD}/run": "start_checks",
    f"{OBD}/run/obproxy-ADDRESS-2883.pid": "start_checks",
}
# A group of cron's own may write there; only files without a second name are read, as cron does it.
CRONTABS = "/var/spool/cron/crontabs"
WORDS = (
    (re.compile(r"^/opt/taobao/install/obproxy-[\d.]+|^/home/admin/obproxy(?!/run)"), "H"),
    (re.compile(r"^/home/admin/\.obd/repository/.*/\w{16}"), "H"),
    (re.compile(r"takeover-\d+-"), "takeover-PID-"),
    (re.compile(r"obproxy-[\d.]+-2883"), "obproxy-ADDRESS-2883"),
    (re.compile(r"/\.$"), ""),
)


def usual(path: str) -> str:
    """Return a path without the parts that differ from host to host."""
    for pattern, word in WORDS:
        path = pattern.sub(word, path)
    return path


def give_agent(host: LabHost) -> None:
    """Let the OBProxy's user have an agent."""
    script = f'printf "#!/bin/sh\\nid -u >>{WHO}\\n" >{CONTROL}; chmod 755 {CONTROL}'
    host.run(f"runuser -u admin -- sh -c 'umask 022; mkdir -p {AGENT}/bin; {script}'")


@pytest.fixture(scope="module")
def reach(lab: Lab) -> Iterator[list[tuple[Reach, bool]]]:
    """Return the paths that takeovers, a rollback and a release reach, and whether others than root can change them.

    The takeovers are a first start, a hot restart, a cold one, one by the deployer's watchdog, and an adoption.
    """
    hosts = lab.start_many(
        [
            HostSpec("reach-start", _FIRST_HOST_ID, "absent"),
            HostSpec("reach-hot", _FIRST_HOST_ID + 1, "restart-needed"),
            HostSpec("reach-cold", _FIRST_HOST_ID + 2, "restart-needed", LEGACY),
            HostSpec("reach-obd", _FIRST_HOST_ID + 3),
            HostSpec("reach-release", _FIRST_HOST_ID + 4),
        ]
    )
    try:
        situations.private_mounts(hosts[1])
        situations.obd(hosts[3], threads=4)
        for host in hosts:
            give_agent(host)
            record(host)
        variables = {host.name: RESTART for host in hosts} | {hosts[0].name: BY_LIST}
        done = play(lab, *hosts, host_variables=variables)
        assert done.code == 0, done.text
        directories = {host.name: changeable(host) for host in hosts}
        undone = play(lab, *hosts[:-1], playbook="rollback")
        assert undone.code == 0, undone.text
        released = play(lab, hosts[-1], playbook="release")
        assert released.code == 0, released.text
        for host in hosts:
            directories[host.name] |= changeable(host)
        yield [(one, is_below(one.path, directories[host.name])) for host in hosts for one in reached(host)]
    finally:
        for host in hosts:
            host.remove()


def test_root_reaches_nothing_that_another_user_decides_on(reach: list[tuple[Reach, bool]]) -> None:
    found = {(one.what, one.path) for one, is_anothers in reach if one.user == 0 and is_anothers}
    assert {(what, path) for what, path in found if not is_below(path, {CRONTABS})} == set()


def test_every_path_that_is_reached_is_attacked(reach: list[tuple[Reach, bool]]) -> None:
    users = {usual(one.path) for one, is_anothers in reach if one.user != 0 and is_anothers}
    assert users <= set(PATHS), users - set(PATHS)
    assert set(PATHS) - {"H"} <= users | {f"{FILE}.before-takeover"}, set(PATHS) - users


def questions() -> dict[str, bytes]:
    """Run the programs as the roles do, by the names in `PATHS`."""
    directory = f"{AGENT}/conf/module_config"
    file = {"path": FILE, "mode": "0644", "replace": True, "directory_mode": "0755", "keep": True, "signature": ""}
    usual: Json = {"check": False, "as_user": "admin", "process": None, "seconds": 5}
    made = [f"{SECOND}/{name}" for name in ("etc", "log", ".conf", "control-config", "sharding-config")]
    obd = {"home": OBD, "homes": [OBD], "supervisor": {"kind": "obd", "unit": ""}, "app_name": "", "former": {}}
    asked: dict[str, tuple[str, Json]] = {
        "probe": (
            "probe",
            {"sql_port": 2883, "keywords": ["obproxy"], "commands": ["sh"], "owner": "admin", "places": [FILE]}
            | {"directories": ["/var/lib"], "files": ["/etc/issue"], "executables": [CONTROL], "seconds": 20},
        ),
        "agent": (
            "converge",
            usual | {"files": [file | {"text": "text\n"}], "commands": [[CONTROL, "x"]], "prune": []},
        ),
        "agent-back": (
            "converge",
            usual | {"files": [file | {"text": None}], "commands": [], "prune": [directory, f"{AGENT}/conf"]},
        ),
        "start": ("start", {"sql_port": 2999, "package": "", "home": SECOND, "owner": "admin", "seconds": 5}),
        "undo_start": (
            "undo_start",
            {"home": SECOND, "owner": "admin", "sql_port": 2999, "made": made, "check": False, "seconds": 5},
        ),
        # A hot restart that is over: what is left is to look whether its watchdog knows the new process.
        "start_checks": (
            "restart",
            obd
            | {"process": {"pid": 1, "started": 0}, "identity": {}, "way": "hot", "sql_port": 2883, "ports": [2883]}
            | {"seconds": 5, "order_seconds": 1},
        ),
    }
    # How long it looks for a second instance changes nothing here.
    return {
        name: program_text(source, wanted).replace(b"INTERVAL = 2.5", b"INTERVAL = 0.1")
        for name, (source, wanted) in asked.items()
    }


@dataclass(frozen=True)
class Attacked:
    """The outcomes of all attacks on one host, and listings of root's files before and after them."""

    host: LabHost
    outcomes: list[Outcome]
    before: str
    after: str


def root_s(host: LabHost) -> str:
    """Return a listing of all that an attack could change: file states, and the texts below /etc and /root."""
    return host.run(
        "find /etc /usr /var/spool -xdev -printf '%p %y %m %u %g %n %s %T@ %C@ %l\\n' | sort\n"
        "find /root -printf '%p %y %m %u %g %n %s %T@ %l\\n' | sort; find /home/admin -user root | sort\n"
        "find /etc /root -xdev -type f -exec md5sum {} + | sort"
    )


@pytest.fixture(scope="module")
def attacked(lab: Lab) -> Iterator[Attacked]:
    (host,) = lab.start_many([HostSpec("attacked", _FIRST_HOST_ID + 50)])
    try:
        host.run(
            f"cp -a {host.home} {SECOND}; cd {SECOND}; rm -rf etc .conf log; mkdir etc log .conf; chown -R admin: ."
        )
        situations.obd(host, threads=8)
        give_agent(host)
        host.run(f"runuser -u admin -- sh -c 'mkdir -p {AGENT}/conf/module_config; echo other >{FILE}'")
        host.run(
            f"chmod 700 /root; echo {MARK} >{SECRET}; chmod 600 {SECRET}; mkdir {TRAP}; cp {SECRET} {TRAP}/obproxy"
        )
        paths = {one: one.replace("H", SECOND, 1) if one.startswith("H") else one for one in PATHS}
        address = host.run(f"basename {OBD}/run/*.pid").strip()
        listed = [(path.replace("obproxy-ADDRESS-2883.pid", address), PATHS[name]) for name, path in paths.items()]
        listed += [(path, "probe") for path in (AGENT, CONTROL, f"{AGENT}/conf", f"{AGENT}/conf/module_config")]
        raced = [path for path, _ in listed if path.rpartition("/")[2].startswith(("obproxy", "ocp_agentctl"))]
        programs = questions()
        before = root_s(host)
        outcomes = attack(host, programs, listed, [AGENT, SECOND], sorted(set(raced) - {AGENT}))
        yield Attacked(host, outcomes, before, root_s(host))
    finally:
        host.remove()


@pytest.mark.parametrize("name", [*ATTACKS, "race"])
def test_it_ends_in_time_with_a_clear_message_or_continues(attacked: Attacked, name: str) -> None:
    outcomes = [one for one in attacked.outcomes if one.attack == name and one.program != "racer"]
    assert len(outcomes) > len(PATHS) / 2
    for one in outcomes:
        told = f"{one.program} with {one.attack} at {one.path}: {one.said[-600:]}{one.errors[-1500:]}"
        assert one.seconds < LIMIT, told
        assert one.status == 0 and one.errors == "" and one.said.startswith(MARKER), told
        problem = json.loads(one.said.removeprefix(MARKER)).get("problem")
        assert problem in (None, "") or len(problem.split()) > 3, told


def test_nothing_of_root_s_is_read(attacked: Attacked) -> None:
    assert not [one for one in attacked.outcomes if MARK in one.said + one.errors]


def test_nothing_of_root_s_is_changed(attacked: Attacked) -> None:
    assert attacked.after == attacked.before
    assert [one.status for one in attacked.outcomes if one.program == "racer"] == [0], "the race was run to its end"


def test_only_the_user_s_programs_were_run_as_the_user(attacked: Attacked) -> None:
    who = attacked.host.run(f"cat {WHO}").split()
    assert set(who) == {attacked.host.run("id -u admin").strip()}
