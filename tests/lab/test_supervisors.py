"""Restarts of an OBProxy that something else than the platform's watchdog keeps alive, or has started."""

import pytest

from tests.roles.playing import play
from tests.waiting import until

from . import Lab, situations
from .fixtures import StartHost
from .host import LabHost
from .inventory import SYS_PASSWORD
from .test_draining import RESTART, listening, proxies, value
from .traffic import held

LEGACY = "1.9.1.1-1919579"


def recorded(host: LabHost) -> int:
    """Return the pid in the watchdog's record, 0 while the watchdog is writing it."""
    return int(host.run(f"cat {situations.OBD_HOME}/run/obproxy-*.pid").strip() or 0)


def watchdogs(host: LabHost) -> list[str]:
    return host.run("pgrep -f 'obproxyd.sh .* daemon$' || true").split()


@pytest.mark.parametrize("version", ["4.3.1.0-1", LEGACY])
def test_the_deployer_s_watchdog_starts_it_and_watches_it(lab: Lab, lab_host: StartHost, version: str) -> None:
    host = lab_host(version=version)
    situations.obd(host, threads=4)
    old, keepers, ports = host.proxy_pid(), watchdogs(host), listening(host)
    done = play(lab, host, variables=RESTART)
    assert done.code == 0, done.failure(host)
    new = host.proxy_pid()
    assert new not in (None, old) and proxies(host) == {new} and recorded(host) == new
    assert watchdogs(host) == keepers and listening(host) == ports
    assert value(lab, host, "work_thread_num") == "8"
    assert "cold restart" in done.result(host, "start_obproxy")["msg"]
    host.run(f"kill -9 {new}")
    assert recorded_soon(host) == host.wait_for_another_pid(new)


def recorded_soon(host: LabHost) -> int:
    """Return the pid in the record once it is that of the process at the port."""
    return until(lambda: pid if (pid := recorded(host)) == host.proxy_pid() else None, "the record has another pid")


def test_under_the_deployer_s_watchdog_a_failed_restart_is_undone(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    situations.obd(host, threads=4)
    host.simulate(fatal={"work_thread_num": "8"})
    variables = RESTART | {"obproxy_start_seconds": 15}
    role, message = play(lab, host, variables=variables).failure(host)
    assert role == "start_obproxy" and "with the former values" in message
    assert value(lab, host, "work_thread_num") == "4"
    assert len(watchdogs(host)) == 1 and proxies(host) == {recorded_soon(host)}


@pytest.mark.parametrize("version", ["4.3.1.0-1", LEGACY])
def test_an_unknown_supervisor_is_named_and_its_proxy_not_restarted(
    lab: Lab, lab_host: StartHost, version: str
) -> None:
    host = lab_host(version=version)
    situations.keeper(host, threads=4)
    old = host.proxy_pid()
    with held(host) as traffic:
        role, message = play(lab, host, variables=RESTART).failure(host)
        assert role == "start_obproxy" and "is supervised by keeper with pid" in message
        assert "(/bin/bash /usr/local/sbin/keeper)" in message and "work_thread_num" in message
        assert host.proxy_pid() == old and value(lab, host, "work_thread_num") == "4"
        adopted = play(lab, host, variables=RESTART | {"obproxy_parameters": {"proxy_mem_limited": "3G"}})
        assert adopted.code == 0 and host.proxy_pid() == old, adopted.text
    assert not traffic.problems


@pytest.mark.parametrize(("needed", "how"), [(False, "hot restart"), (True, "cold restart")])
def test_a_library_path_forbids_a_hot_restart_only_where_it_is_needed(
    lab: Lab, lab_host: StartHost, needed: bool, how: str
) -> None:
    host = lab_host()
    situations.library_path(host, needed=needed)
    old, ports = host.proxy_pid(), listening(host)
    with held(host) as traffic:
        done = play(lab, host, variables=RESTART | {"obproxy_drain_seconds": 1})
        assert done.code == 0, done.failure(host)
    assert how in done.result(host, "start_obproxy")["msg"] and host.proxy_pid() != old
    assert value(lab, host, "work_thread_num") == "8" and listening(host) == ports
    assert bool(traffic.problems) == needed


@pytest.mark.parametrize(
    ("variables", "role"),
    [
        ({"obproxy_parameters": {"proxy_mem_limited": "3G"}}, "sync_obproxy_parameter"),
        ({"obproxy_sys_password": "Another#1", "obproxy_parameters": {}}, "set_obproxy_user_password"),
    ],
)
def test_nothing_is_set_in_a_process_that_has_come_meanwhile(
    lab: Lab, lab_host: StartHost, variables: dict[str, object], role: str
) -> None:
    """The host stands still for the run, after the discovery, until another process answers at the port."""
    host = lab_host("unsupervised")
    old, before = host.proxy_pid(), value(lab, host, "proxy_mem_limited")
    host.run(f"""cat >/usr/local/sbin/meanwhile <<'EOS'
until [ -s /var/lib/obproxy-takeover/before-2883.json ]; do sleep 0.005; done
pkill -STOP sshd
kill -9 {old}
while kill -0 {old} 2>/dev/null; do sleep 0.005; done
cd {host.home} && runuser -u admin -- ./bin/obproxy -p 2883 -n test
until (: </dev/tcp/127.0.0.1/2883) 2>/dev/null; do sleep 0.02; done
pkill -CONT sshd
EOS
nohup setsid bash /usr/local/sbin/meanwhile >/dev/null 2>&1 </dev/null &""")
    given = {"obproxy_current_sys_password": SYS_PASSWORD} | variables
    failed, message = play(lab, host, variables=given).failure(host)
    new = host.proxy_pid()
    assert new != old and failed == role, message
    assert f"pid {new} answers there, pid {old} did when the host was discovered" in message
    assert value(lab, host, "proxy_mem_limited") == before  # logged in with the password that it had
