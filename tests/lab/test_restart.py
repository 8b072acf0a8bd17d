"""A restart under management: with permission only, one host at a time, and back to the old state when it fails."""

import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.roles.playing import play

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .traffic import held
from .tunnel import admin, query

RESTART = {"obproxy_allow_restart": True}
LEGACY = "1.9.1.1-1919579"


def command_line(host: LabHost) -> str:
    return host.run(f"tr '\\0' ' ' < /proc/{host.proxy_pid()}/cmdline").strip()


def watchdogs(host: LabHost) -> list[str]:
    """Return the command lines of the watchdogs, without their children, which are about to be nc or sleep."""
    shown = host.run("ps -C obproxyd.sh -o pid=,ppid=,args= || true").splitlines()
    processes = [line.split(None, 2) for line in shown]
    pids = {pid for pid, _, _ in processes}
    return [arguments for _, parent, arguments in processes if parent not in pids]


def value(lab: Lab, host: LabHost, name: str) -> object:
    with admin(lab, host, "Proxysys#1") as connection:
        return next(row[1] for row in query(connection, f"show proxyconfig like '{name}'"))


@contextmanager
def watched(hosts: Sequence[LabHost]) -> Iterator[list[set[str]]]:
    """Sample all hosts repeatedly; yield for each sample the hosts that rejected connections at their SQL port."""
    seen: list[set[str]] = []
    stop = threading.Event()

    def rejects(host: LabHost) -> bool:
        try:
            socket.create_connection((host.address, host.sql_port), timeout=2).close()
        except OSError:
            return True
        return False

    def sample() -> None:
        while not stop.is_set():
            seen.append({host.name for host in hosts if rejects(host)})
            time.sleep(0.02)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_a_hot_restart_rejects_no_connection_and_is_undone(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("restart-needed")
    pid, supervisors = host.proxy_pid(), watchdogs(host)
    checked = play(lab, host, arguments=("--check", "--diff", "-e", "obproxy_allow_restart=true"))
    assert "work_thread_num=4\n" in checked.result(host, "start_obproxy")["diff"]["before"] and host.proxy_pid() == pid
    with watched([host]) as seen:
        done = play(lab, host, variables=RESTART)
    assert done.code == 0, done.failure(host)
    assert set().union(*seen) == set()
    new = host.proxy_pid()
    assert new != pid and done.server(host)["pid"] == new and done.server(host)["pending_restart"] == []
    assert "hot restart" in done.result(host, "start_obproxy")["msg"]
    assert value(lab, host, "work_thread_num") == "8" and watchdogs(host) == supervisors
    again = play(lab, host, variables=RESTART)
    assert again.stats(host)["changed"] == 0 and host.proxy_pid() == new

    refused = play(lab, host, playbook="rollback", arguments=("--tags", "sync_obproxy_parameter,start_obproxy"))
    assert refused.code == 0 and host.proxy_pid() == new
    assert "these act only after a restart, which is not permitted: work_thread_num" in refused.text
    undone = play(lab, host, playbook="rollback", variables=RESTART)
    assert undone.code == 0, undone.failure(host)
    assert value(lab, host, "work_thread_num") == "4" and host.proxy_pid() != new


def test_an_old_version_is_stopped_and_started_one_host_at_a_time(lab: Lab, lab_host: StartHost) -> None:
    hosts = [lab_host("restart-needed", version=LEGACY) for _ in range(2)]
    for host in hosts:
        host.run(
            f"pkill -9 -x obproxyd.sh; pkill -9 -x obproxy; cd {host.home}; ulimit -n 777\n"
            "WORK_THREAD_NUM=4 runuser -u admin -- ./bin/obproxyd.sh -c start -n legacy -p 2883\n"
            "for _ in $(seq 100); do ss -Hltn 'sport = :2883' | grep -q . && exit 0; sleep 0.1; done; exit 1"
        )
    pids, supervisors = [host.proxy_pid() for host in hosts], [watchdogs(host) for host in hosts]
    with watched(hosts) as seen:
        done = play(lab, *hosts, variables=RESTART)
    assert done.code == 0, done.text
    assert max(map(len, seen)) == 1 and set().union(*seen) == {host.name for host in hosts}
    for host, pid, former in zip(hosts, pids, supervisors, strict=True):
        assert host.proxy_pid() != pid and value(lab, host, "work_thread_num") == "8"
        assert value(lab, host, "proxy_mem_limited") == "3G"  # not the watchdog's -o list (trap 15)
        # As daemons inherit their limits, those of the ssh session would be the new one's (trap 27).
        assert re.search(r"Max open files +777 +777 ", host.run(f"cat /proc/{host.proxy_pid()}/limits"))
        # Its own user, home and watchdog; no options, so that what is stored acts.
        assert command_line(host) == "./bin/obproxy -p 2883 -n legacy" and watchdogs(host) == former
        assert host.run(f"stat -c %U /proc/{host.proxy_pid()}").strip() == "admin"
        assert host.run(f"readlink /proc/{host.proxy_pid()}/cwd").strip() == host.home


def test_a_failed_restart_is_undone(lab: Lab, lab_host: StartHost) -> None:
    hosts = [lab_host("restart-needed"), lab_host("restart-needed", version=LEGACY)]
    supervisors = [watchdogs(host) for host in hosts]
    for host in hosts:
        host.simulate(fatal={"work_thread_num": "8"})
    done = play(lab, *hosts, variables=RESTART)
    for host, former in zip(hosts, supervisors, strict=True):
        role, message = done.failure(host)
        assert role == "start_obproxy" and "with the former values" in message
        assert value(lab, host, "work_thread_num") == "4" and watchdogs(host) == former
        assert host.run("pgrep -cx obproxy").strip() == "1"
    assert play(lab, *hosts, playbook="rollback").code == 0


def test_an_obproxy_whose_program_cannot_be_executed_is_not_stopped(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("restart-needed")
    host.run(f"chmod a-x {host.home}/bin/obproxy")
    pid = host.proxy_pid()
    with held(host) as traffic:
        for arguments in (("--check",), ()):
            _, message = play(lab, host, variables=RESTART, arguments=arguments).failure(host)
            assert "program can be started again" in str(message)
    assert host.proxy_pid() == pid and value(lab, host, "work_thread_num") == "4"
    assert not traffic.problems


def test_without_permission_nothing_is_restarted(lab: Lab, lab_host: StartHost) -> None:
    """Also of what has been set already and waits, and of what a later run of one role sets."""
    host = lab_host("restart-needed")
    pid = host.proxy_pid()
    role, message = play(lab, host).failure(host)
    assert role == "sync_obproxy_parameter" and "work_thread_num is '4', desired is '8'" in message
    alone = play(lab, host, variables=RESTART, arguments=("--tags", "sync_obproxy_parameter"))
    assert alone.code == 0 and alone.server(host)["pending_restart"] == ["work_thread_num"]
    told = play(lab, host)
    assert told.code == 0 and told.server(host)["pending_restart"] == ["work_thread_num"] and host.proxy_pid() == pid
    done = play(lab, host, variables=RESTART)
    assert done.server(host)["pending_restart"] == [] and host.proxy_pid() != pid
