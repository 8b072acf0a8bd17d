"""A hot restart while clients hold connections: none is disconnected earlier than by the proxy itself."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pymysql
import pytest

from service.model.settings import PROJECT
from tests.roles.playing import play
from tests.waiting import until

from . import Lab, inventory
from .fixtures import StartHost
from .host import LabHost
from .traffic import USER, held
from .tunnel import admin, query

RESTART = {"obproxy_allow_restart": True}
_DEADLINE = 120.0
_HELD_BEFORE_THE_SCRAPE = f"""
- name: Register the exporter of an OBProxy whose hot restart has just closed the exporter's port
  hosts: all
  become: true
  gather_facts: false
  tasks:
    - ansible.builtin.import_tasks: {PROJECT}/playbooks/tasks/discover.yml
    - ansible.builtin.shell: |
        touch /run/discovered
        timeout {_DEADLINE:.0f} sh -c 'while ss -Hltn "sport = :2884" | grep -q .; do sleep 0.05; done'
    - ansible.builtin.import_role: {{name: register_obproxy_exporter}}
"""


def alter(lab: Lab, host: LabHost, **parameters: str) -> None:
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        for name, value in parameters.items():
            query(connection, f"alter proxyconfig set {name} = '{value}'")


def value(lab: Lab, host: LabHost, name: str) -> object:
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        return next(row[1] for row in query(connection, f"show proxyconfig like '{name}'"))


def proxies(host: LabHost) -> set[int]:
    return set(map(int, host.run("pgrep -x obproxy || true").split()))


def listening(host: LabHost) -> set[str]:
    return set(host.run("ss -Hltn | awk '{n=split($4,a,\":\"); print a[n]}'").split())


def test_a_slow_drain_is_waited_for(lab: Lab, lab_host: StartHost) -> None:
    """One client has a statement that takes longer than any fixed limit, and minutes are allowed for it."""
    host = lab_host("restart-needed")
    alter(lab, host, hot_upgrade_exit_timeout="300000000")
    old, ports = host.proxy_pid(), listening(host)
    client = pymysql.connect(host=host.address, port=host.sql_port, user=USER, password="x", read_timeout=_DEADLINE)
    answers: list[object] = []

    def sleep() -> None:
        with client.cursor() as cursor:
            cursor.execute("select sleep(40)")
            answers.extend(cursor.fetchall())
        client.close()

    thread = threading.Thread(target=sleep, daemon=True)
    thread.start()
    done = play(lab, host, variables=RESTART)
    thread.join(_DEADLINE)
    assert done.code == 0, done.failure(host)
    assert answers == [(0,)], "the client was cut"
    new = host.proxy_pid()
    assert new != old and proxies(host) == {new} and done.server(host)["pid"] == new
    assert "still serves 1 connections" in done.text
    assert value(lab, host, "work_thread_num") == "8" and listening(host) == ports
    assert done.server(host)["supervised"] is True


@pytest.mark.parametrize(
    ("limit", "told"), [("600000000", "s at the most"), ("-1", "(hot_upgrade_exit_timeout is -1)")]
)
def test_a_drain_that_outlasts_the_subtask_ends_with_a_statement(
    lab: Lab, lab_host: StartHost, limit: str, told: str
) -> None:
    """And a run that follows in the middle of it finds the new process, and starts no third one."""
    host = lab_host("restart-needed")
    alter(lab, host, hot_upgrade_exit_timeout=limit)
    old = host.proxy_pid()
    with held(host) as traffic:
        done = play(lab, host, variables=RESTART | {"obproxy_drain_seconds": 2})
        assert done.code == 0, done.failure(host)
        new = host.proxy_pid()
        message = done.result(host, "start_obproxy")["msg"]
        assert f"pid {old} still serves 20 connections" in message and told in message
        assert "this subtask waits for that 2 s at the most" in message
        assert new is not None and new != old and proxies(host) == {old, new}

        again = play(lab, host, variables=RESTART)
        assert again.code == 0 and again.stats(host)["changed"] == 0, again.text
        assert again.server(host)["pid"] == new and proxies(host) == {old, new}

        refused = play(
            lab,
            host,
            variables=RESTART | {"obproxy_drain_seconds": 2, "obproxy_parameters": {"work_thread_num": "9"}},
        )
        role, why = refused.failure(host)
        assert role == "start_obproxy" and "only after its former process has drained" in why
        assert proxies(host) == {old, new} and value(lab, host, "work_thread_num") == "8"
    assert not traffic.problems


@pytest.mark.parametrize("bad", [{"rootservice_list": "garbage"}, {"work_thread_num": "9"}])
def test_a_hot_restart_that_fails_leaves_process_and_clients_alone(
    lab: Lab, lab_host: StartHost, bad: dict[str, str]
) -> None:
    host = lab_host("unsupervised" if "work_thread_num" in bad else "running")
    host.simulate(fatal={"work_thread_num": "9"})
    (name,) = bad
    old, ports, before = host.proxy_pid(), listening(host), value(lab, host, name)
    with held(host) as traffic:
        role, message = play(lab, host, variables=RESTART | {"obproxy_parameters": bad}).failure(host)
        assert role == "start_obproxy" and "with the former values" in message
        assert proxies(host) == {old} and listening(host) == ports
    assert not traffic.problems
    assert value(lab, host, name) == before
    host.simulate()
    done = play(lab, host)
    assert done.code == 0 and done.server(host)["pending_restart"] == [], done.text


def test_per_server_parameters_need_no_restart(lab: Lab, lab_host: StartHost) -> None:
    """ip_listen_mode=3 would let each hot restart fail."""
    host = lab_host()
    old = host.proxy_pid()
    desired = {"ip_listen_mode": "3", "local_bound_ipv6_ip": "::1"}
    done = play(lab, host, variables=RESTART | {"obproxy_parameters": desired})
    assert done.code == 0 and host.proxy_pid() == old and value(lab, host, "ip_listen_mode") == "1"
    message = done.result(host, "sync_obproxy_parameter")["msg"]
    assert "never synchronised: ip_listen_mode, local_bound_ipv6_ip" in message


def test_a_run_that_ends_after_the_order_is_gone_on_with(lab: Lab, lab_host: StartHost) -> None:
    """The order of a hot restart is given by a run that is ended: the next run never makes a third process."""
    host = lab_host("restart-needed")
    old = host.proxy_pid()
    alter(lab, host, hot_upgrade_exit_timeout="-1", proxy_hot_upgrade_check_interval="1s")
    alone = play(lab, host, variables=RESTART, arguments=("--tags", "sync_obproxy_parameter"))
    assert alone.code == 0 and alone.server(host)["pending_restart"] == ["work_thread_num"]
    with held(host) as traffic:
        alter(lab, host, proxy_local_cmd="2")
        done = play(lab, host, variables=RESTART | {"obproxy_drain_seconds": 1})
        assert done.code == 0, done.failure(host)
        new = host.proxy_pid()
        assert new is not None and new != old and proxies(host) == {old, new}
        assert done.server(host)["pending_restart"] == []
    assert not traffic.problems


def test_a_run_that_finds_a_hot_restart_half_done_waits_for_its_exporter(lab: Lab, lab_host: StartHost) -> None:
    """The successor has the SQL port before it serves; until then neither process has the exporter's port."""
    host = lab_host()
    old, ports = host.proxy_pid(), listening(host)
    alter(lab, host, hot_upgrade_exit_timeout="-1", proxy_hot_upgrade_check_interval="1s")
    host.simulate(start_delay=5)
    with held(host) as traffic:
        alter(lab, host, proxy_local_cmd="2")
        until(lambda: len(proxies(host)) > 1, "no hot restart has begun")
        done = play(lab, host)
        assert done.code == 0, done.failure(host)
        assert proxies(host) == {old, done.server(host)["pid"]} and done.server(host)["pid"] != old
        assert listening(host) == ports
    assert not traffic.problems


def test_a_hot_restart_between_the_discovery_and_the_scrape_is_waited_for(
    lab: Lab, lab_host: StartHost, tmp_path: Path
) -> None:
    """The facts name an exporter that no process serves any more, and that the successor serves a moment later."""
    host = lab_host()
    old = host.proxy_pid()
    alter(lab, host, hot_upgrade_exit_timeout="-1", proxy_hot_upgrade_check_interval="1s")
    host.simulate(start_delay=5)
    playbook = tmp_path / "held"
    playbook.with_suffix(".yml").write_text(_HELD_BEFORE_THE_SCRAPE)
    with held(host) as traffic, ThreadPoolExecutor(1) as executor:
        playing = executor.submit(play, lab, host, playbook=str(playbook))
        until(lambda: host.run("ls /run/discovered 2>/dev/null || true"), "the host was not discovered")
        alter(lab, host, proxy_local_cmd="2")
        done = playing.result()
        assert done.code == 0, done.failure(host)
        assert proxies(host) == {old, done.server(host)["pid"]} and done.server(host)["pid"] != old
    assert not traffic.problems
