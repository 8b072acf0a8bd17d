"""An OBProxy under the real systemd, supervisord and cron: adopted by all, restarted through its own command only."""

import pytest

from tests.roles.playing import play
from tests.waiting import until

from . import Lab, situations
from .fixtures import StartHost
from .host import LabHost
from .test_draining import RESTART, listening, proxies, value
from .traffic import held

UNIT = "obproxy.service"
ADOPT: dict[str, object] = {"obproxy_parameters": {"proxy_mem_limited": "3G"}}


def main_pid(host: LabHost) -> int:
    return int(host.run(f"systemctl show {UNIT} -p MainPID --value"))


def state_of(host: LabHost) -> str:
    return host.run(f"systemctl show {UNIT} -p ActiveState,NRestarts").strip()


def until_active(host: LabHost) -> None:
    until(lambda: host.proxy_pid() == main_pid(host), "the unit's process is not at the port")


def test_under_systemd_it_is_adopted_and_no_client_is_disconnected(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("systemd")
    old, before = host.proxy_pid(), state_of(host)
    with held(host) as traffic:
        done = play(lab, host, variables=ADOPT)
        assert done.code == 0, done.failure(host)
    assert not traffic.problems and host.proxy_pid() == old == main_pid(host) and state_of(host) == before
    assert value(lab, host, "proxy_mem_limited") == "3G" and done.server(host)["supervised"] is True
    assert play(lab, host, variables=ADOPT).stats(host)["changed"] == 0


def test_a_unit_restarts_it_with_the_new_values(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("systemd")
    old, ports = host.proxy_pid(), listening(host)
    assert value(lab, host, "work_thread_num") == "4"
    done = play(lab, host, variables=RESTART)
    assert done.code == 0, done.failure(host)
    new = host.proxy_pid()
    assert new not in (None, old) and proxies(host) == {new} and main_pid(host) == new
    # Its own command has restarted it: a process that is killed counts among NRestarts.
    assert state_of(host).splitlines() == ["NRestarts=0", "ActiveState=active"]
    assert value(lab, host, "work_thread_num") == "8" and listening(host) == ports
    assert "cold restart" in done.result(host, "start_obproxy")["msg"]
    host.run(f"kill -9 {new}")
    until_active(host)
    assert value(lab, host, "work_thread_num") == "8"


def test_a_unit_with_another_value_is_named(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("systemd")
    unit = f"/etc/systemd/system/{UNIT}"
    host.run(f"sed -i s/-o\\ /\\&work_thread_num=4,/ {unit} && systemctl daemon-reload && systemctl restart {UNIT}")
    until_active(host)
    role, message = play(lab, host, variables=RESTART).failure(host)
    assert role == "start_obproxy" and f"the systemd unit {UNIT} has started pid {host.proxy_pid()}" in message
    assert "work_thread_num is '4' instead of '8'" in message
    assert proxies(host) == {main_pid(host)} and value(lab, host, "work_thread_num") == "4"


def test_under_a_unit_a_failed_restart_is_undone(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("systemd")
    host.simulate(fatal={"work_thread_num": "8"})
    role, message = play(lab, host, variables=RESTART | {"obproxy_start_seconds": 30}).failure(host)
    assert role == "start_obproxy" and "with the former values" in message
    assert value(lab, host, "work_thread_num") == "4" and proxies(host) == {main_pid(host)}
    assert "ActiveState=active" in state_of(host)


@pytest.mark.parametrize(
    ("make", "description"),
    [
        (situations.supervisord, "is supervised by supervisord with pid"),
        (situations.cron, "is supervised by a job in /etc/cron.d/obproxy"),
    ],
)
def test_under_supervisord_and_cron_it_is_adopted_and_not_restarted(
    lab: Lab, lab_host: StartHost, make: situations.Make, description: str
) -> None:
    host = lab_host()
    make(host, 4)
    old = host.proxy_pid()
    with held(host) as traffic:
        role, message = play(lab, host, variables=RESTART).failure(host)
        assert role == "start_obproxy" and description in message and "work_thread_num" in message
        assert value(lab, host, "work_thread_num") == "4"
        adopted = play(lab, host, variables=RESTART | ADOPT)
        assert adopted.code == 0, adopted.failure(host)
        assert adopted.server(host)["supervised"] is True
    assert not traffic.problems and proxies(host) == {old}
