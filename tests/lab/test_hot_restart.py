"""The hot restart of the simulated OBProxy: a new process at the same port (docs/reference/obproxy.md 2.6)."""

import dataclasses
import socket
import time

import pytest

from tests.waiting import until

from . import Lab, inventory
from .fixtures import StartHost
from .host import LabHost
from .instance import RS_LIST
from .observations import Entry, entries
from .replay import Replay
from .traffic import held
from .tunnel import admin, query

_DEADLINE = 60.0  # seconds


def _of(setup: str) -> list[Entry]:
    return [entry for entry in entries() if entry.setup == setup]


def _wait_for_another_pid(host: LabHost, old: int | None) -> int:
    """Return the pid at the SQL port once it is a new one; the port never stops answering meanwhile."""
    deadline = time.monotonic() + _DEADLINE
    while (pid := host.proxy_pid()) in (None, old):
        assert time.monotonic() < deadline
        if old:
            socket.create_connection((host.address, host.sql_port), timeout=2).close()
    assert pid
    return pid


def test_hot_restart(lab_host: StartHost) -> None:
    """On a host, where bin/obproxy is a program that can start itself again. Replays the setups F and F-restarted."""
    host = lab_host(state="stopped")
    home = "/home/admin/hot"
    options = "obproxy_sys_password=,skip_proxy_sys_private_check=true"
    start = f"{host.home}/bin/obproxy -p 3883 -l 3884 -s 3885 -r {RS_LIST} -c test -n x -o {options}"
    host.run(f"install -d -o admin -g admin {home}; cd {home}; ln -s {host.home}/bin bin; runuser -u admin -- {start}")
    host = dataclasses.replace(host, sql_port=3883)
    replay = Replay(host.address, {"3883": 3883}, "")
    first = _wait_for_another_pid(host, None)
    until_restart = [entry for entry in _of("F") if "proxy_local_cmd='1'" not in entry.sql]
    assert replay.differences(until_restart) == []
    second = _wait_for_another_pid(host, first)
    assert host.run(f"tr '\\0' ' ' < /proc/{second}/cmdline") == f"{host.home}/bin/obproxy "
    assert host.run(f"readlink /proc/{second}/cwd").strip() == home
    assert replay.differences(_of("F-restarted")) == []
    host.run(f"test -s {home}/etc/obproxy_config.bin")
    host.run(f"for _ in $(seq 100); do [ -e /proc/{first} ] || exit 0; sleep 0.1; done; exit 1")


def _order(lab: Lab, host: LabHost, **parameters: str) -> None:
    """Set parameters, then order a hot restart."""
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        for name, value in (parameters | {"proxy_local_cmd": "2"}).items():
            query(connection, f"alter proxyconfig set {name} = '{value}'")


def _wait_for_log(host: LabHost, text: str) -> None:
    until(lambda: text in host.run(f"cat {host.home}/log/obproxy.log"), f"not in the log: {text}")


def _listening(host: LabHost) -> set[str]:
    """Port:pid of every listening socket of an obproxy."""
    awk = 'awk \'{n=split($4,a,":"); while (match($0,/pid=[0-9]+/)) '
    awk += '{print a[n] ":" substr($0,RSTART+4,RLENGTH-4); $0=substr($0,RSTART+RLENGTH)}}\''
    return set(host.run(f"ss -Hltnp | grep obproxy | {awk}").split())


@pytest.mark.parametrize("broken", [{"rootservice_list": "garbage"}, {"ip_listen_mode": "3"}])
def test_a_killed_successor_changes_nothing(lab: Lab, lab_host: StartHost, broken: dict[str, str]) -> None:
    host = lab_host()
    pid, ports = host.proxy_pid(), _listening(host)
    with held(host) as traffic:
        _order(lab, host, **broken)
        _wait_for_log(host, "hot restart is given up")
        assert host.proxy_pid() == pid and _listening(host) == ports
        assert host.run("pgrep -cx obproxy").strip() == "1"
    assert not traffic.problems
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        assert query(connection, "show proxyconfig like 'proxy_local_cmd'")[0][1] == "0"
    assert "result: reboot failed" in host.run(f"tail -n 1 {host.home}/log/obproxy_diagnosis.log")


def test_one_that_drains_keeps_its_listening_sockets_until_its_own_limit(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    first = host.proxy_pid()
    with held(host) as traffic:
        _order(lab, host, hot_upgrade_exit_timeout="12000000")
        second = _wait_for_another_pid(host, first)
        _wait_for_log(host, "obproxy start up successful")
        assert {f"2883:{first}", f"2883:{second}", f"2885:{first}", f"2885:{second}"} <= _listening(host)
        assert f"2884:{first}" not in _listening(host)
        host.run(f"for _ in $(seq 300); do [ -e /proc/{first} ] || exit 0; sleep 0.1; done; exit 1")
    assert len(traffic.problems) == 20, "the limit of the proxy itself has not ended its connections"
