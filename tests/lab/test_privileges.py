"""A host whose ordinary users prepare every path that a takeover touches: they get nothing that they cannot do."""

import pytest

from tests.roles.playing import play

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .test_first_start import BY_LIST, HOME, INSTALL
from .test_restart import LEGACY, RESTART

AGENT = "/home/admin/ocp_agent"
CONTROL = f"{AGENT}/bin/ocp_agentctl"
FILE = f"{AGENT}/conf/module_config/obproxy.yaml"
WHO = "/var/tmp/who"
# The attacker's program records its user.
SCRIPT = f"#!/bin/sh\\nid -u >>{WHO}\\n"


def as_user(host: LabHost, commands: str, user: str = "admin") -> None:
    """Run commands as an ordinary user of the host."""
    host.run(f"cat >/var/tmp/attack <<'END'\numask 022\n{commands}\nEND\nrunuser -u {user} -- sh /var/tmp/attack")


def agent(host: LabHost, more: str = "") -> None:
    """Let the OBProxy's user prepare an agent whose control program records its user."""
    as_user(
        host,
        f"mkdir -p {AGENT}/bin {AGENT}/conf/module_config\nprintf '{SCRIPT}' >{AGENT}/script\n"
        f"chmod 755 {AGENT}/script\ncp -p {AGENT}/script {CONTROL}\n{more}",
    )


def ran_as(host: LabHost) -> set[str]:
    """Return the users who have run the attacker's program."""
    return set(host.run(f"cat {WHO} 2>/dev/null || true").split())


def root_s_files(host: LabHost) -> str:
    """Return what root owns in the home of the OBProxy's user."""
    return host.run("find /home/admin -user root -newer /etc/hostname; find /home/admin -name '.obproxy-takeover-*'")


def test_the_owner_of_a_control_program_is_not_trusted(lab: Lab, lab_host: StartHost) -> None:
    """The program is a link to one of root's, and becomes a script when the file beside it is opened, or later."""
    host = lab_host()
    agent(
        host,
        f"rm -f {CONTROL} {FILE}; ln -s /bin/true {CONTROL}; mkfifo {FILE}\n"
        f"(: >{FILE}; touch {AGENT}/opened) </dev/null >/dev/null 2>&1 &",
    )
    role, message = play(lab, host).failure(host)
    assert role == "refresh_agent_config" and "no regular file" in message
    assert "opened" not in host.run(f"ls {AGENT}")
    as_user(host, f"mv {AGENT}/script {CONTROL}; rm -f {FILE}")
    done = play(lab, host)
    assert done.code == 0, done.text
    assert ran_as(host) == {host.run("id -u admin").strip()} and root_s_files(host) == ""
    assert host.run(f"stat -c %U {FILE}").strip() == "admin"
    undone = play(lab, host, playbook="rollback")
    assert undone.code == 0, undone.text
    assert "0" not in ran_as(host) and root_s_files(host) == ""


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        (f"ln -s /etc/shadow {FILE}", "symbolic link"),
        (f"mkfifo {FILE}", "no regular file"),
        (f"truncate -s 8G {FILE}", "longer than 1024 KiB"),
        (f"mkdir {FILE}", "no regular file"),
        (f"rmdir {AGENT}/conf/module_config; ln -s /etc {AGENT}/conf/module_config", "Permission denied"),
        (f"chmod 777 {AGENT}/conf/module_config", "every user can write to it"),
        (f"rmdir {AGENT}/conf/module_config; ln -s /var/tmp {AGENT}/conf/module_config", "every user can write to it"),
    ],
)
def test_an_agent_file_that_is_none(lab: Lab, lab_host: StartHost, attack: str, reason: str) -> None:
    host = lab_host()
    agent(host, attack)
    before = host.run("find /etc /var/tmp -newer /etc/hostname -name '*obproxy*' ! -name obproxy.fact; cat /etc/shadow")
    role, message = play(lab, host).failure(host)
    assert role == "refresh_agent_config" and reason in message
    after = host.run("find /etc /var/tmp -newer /etc/hostname -name '*obproxy*' ! -name obproxy.fact; cat /etc/shadow")
    assert after == before and root_s_files(host) == "" and "0" not in ran_as(host)


def test_the_owner_of_a_program_to_start_is_not_trusted(lab: Lab, lab_host: StartHost) -> None:
    """The program is a link to a file of Ansible's login user, who has sudo."""
    host = lab_host("absent")
    host.run(INSTALL)
    as_user(host, f"printf '{SCRIPT}' >/home/ops/program; chmod 755 /home/ops /home/ops/program", user="ops")
    as_user(host, f"mv {HOME}/bin/obproxy {HOME}/bin/own; ln -s /home/ops/program {HOME}/bin/obproxy")
    role, message = play(lab, host, variables=BY_LIST).failure(host)
    assert role == "start_obproxy" and "is not used" in message and "belongs to the user" in message
    assert ran_as(host) == set()


def test_a_program_of_root_s_is_no_watchdog(lab: Lab, lab_host: StartHost) -> None:
    """A setuid program, which any user starts under any name, would be started again as root with that user's PATH."""
    host = lab_host("restart-needed", version=LEGACY)
    old, evil = host.proxy_pid(), "/home/admin/evil"
    as_user(
        host,
        f"mkdir {evil}; printf '{SCRIPT}' >{evil}/obproxyd.sh; chmod 755 {evil}/obproxyd.sh; cd {host.home}\n"
        f"(sleep 1000 | PATH={evil}:$PATH bash -c 'exec -a obproxyd.sh su -c checkalive ops') >/dev/null 2>&1 &",
    )
    host.run("for _ in $(seq 100); do pgrep -fu root '^obproxyd.sh -c checkalive' && exit 0; sleep 0.1; done; exit 1")
    role, message = play(lab, host, variables=RESTART).failure(host)
    assert role == "start_obproxy" and "root privileges" in message
    assert ran_as(host) == set() and host.proxy_pid() == old


def test_a_program_replaced_before_a_restart_is_started_as_the_user(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("restart-needed", version=LEGACY)
    program = f"{host.home}/bin/obproxy"
    as_user(host, f"printf '{SCRIPT}' >/home/admin/script; chmod 755 /home/admin/script")
    swap = f"runuser -u admin -- sh -c 'mv {program} {program}.own; cp -p /home/admin/script {program}'"
    wait = "until [ -s /var/lib/obproxy-takeover/done-2883.json ]; do sleep 0.005; done"
    host.run(f'nohup setsid sh -c "{wait}; {swap}" >/dev/null 2>&1 </dev/null &')
    role, message = play(lab, host, variables=RESTART | {"obproxy_start_seconds": 6}).failure(host)
    assert role == "start_obproxy" and "neither with them nor with the former values" in message
    assert ran_as(host) == {host.run("id -u admin").strip()}
