"""The hot restart of the simulated OBProxy: a new process at the same port (docs/reference/obproxy.md 2.6)."""

import dataclasses
import socket
import time

from .fixtures import StartHost
from .host import LabHost
from .instance import RS_LIST
from .observations import Entry, entries
from .replay import Replay

_DEADLINE = 60.0  # seconds


def _of(setup: str) -> list[Entry]:
    return [entry for entry in entries() if entry.setup == setup]


def _wait_for_another_pid(host: LabHost, old: int | None) -> int:
    """The pid that listens at the SQL port, once it is not the old one's; the port never stops answering meanwhile."""
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
