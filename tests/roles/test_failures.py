"""Each failed prerequisite: which role fails, and a message with Rule, Found and Fix."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import Lab, LabHost
from tests.lab.fixtures import StartHost
from tests.lab.host import HostSpec

from .playing import Play, play

PARAMETERS = {"proxy_mem_limited": "3G"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, list[str]]] = {
    # name: (host, variables, failing role, what the message must hold)
    "unreachable": ({"state": "unreachable"}, {}, "", ["reachable over SSH", "Connection refused", "known_hosts"]),
    "no sudo": ({"state": "no-sudo"}, {}, "", ["login user becomes root", "sudoers"]),
    "no python": ({}, {"ansible_python_interpreter": "/none"}, "", ["Python 3.6 or newer", "/none", "install"]),
    "stopped": (
        {"state": "stopped"},
        {},
        "prepare_obproxy_install",
        ["port 2883 is held by no process", "allow_start"],
    ),
    "absent": (
        {"state": "absent"},
        {},
        "prepare_obproxy_install",
        ["port 2883 is held by no process", "obproxy_sql_port"],
    ),
    "wrong port": ({}, {"obproxy_sql_port": 22}, "prepare_obproxy_install", ["port 22 is held by sshd", "pid"]),
    "two proxies": (
        {"state": "foreign"},
        {},
        "prepare_obproxy_install",
        ["Exactly one", "2 of them", "/home/admin/other"],
    ),
    "owner root": (
        {"state": "owner-root"},
        {},
        "prepare_obproxy_install",
        ["ordinary user", "belongs to root", "admin"],
    ),
    "too old": ({"state": "old-version"}, {}, "prepare_obproxy_install", ["at least 1.8.0", "1.7.4.0", "upgrade"]),
    "mixing": (
        {"version": "1.9.1.1-1919579", "cluster": "test"},
        {},
        "prepare_obproxy_install",
        ["not mixed", "version 1.9.1.1-1919579 runs, cluster test has 4.3.1.0-1", "same major version"],
    ),
    "start mode": ({"state": "rs-list"}, {}, "prepare_obproxy_install", ["start mode", "rs_list", "127.0.0.1:2881"]),
    "no cluster": ({"cluster": None}, {}, "prepare_obproxy_install", ["group of an OBProxy cluster", "inventory"]),
    "wrong password": (
        {"state": "wrong-password"},
        {},
        "prepare_create_obproxy",
        ["can log in", "Access denied", "tried: cluster, empty", "obproxy_current_sys_password"],
    ),
    "little room": (
        {},
        {"obproxy_minimum_free_mb": 10**9},
        "prepare_create_obproxy",
        ["free space", "MiB free", "free at least"],
    ),
    "no nc": ({"state": "no-nc"}, {}, "check_command", ["missing: nc", "install"]),
    "restart": (
        {"state": "restart-needed"},
        {},
        "sync_obproxy_parameter",
        ["only after a restart", "work_thread_num is '4', desired is '8'", "obproxy_allow_restart"],
    ),
    "unknown parameter": (
        {},
        {"obproxy_parameters": {"no_such": 1}},
        "sync_obproxy_parameter",
        ["has no no_such", "obproxy_parameters"],
    ),
    "bad value": (
        {},
        {"obproxy_parameters": PARAMETERS | {"work_thread_num": "8", "syslog_level": "LOUD"}},
        "sync_obproxy_parameter",
        ["syslog_level = 'LOUD' was rejected", "4147", "restored"],
    ),
    "quote": ({}, {"obproxy_parameters": {"init_sql": "set @a='x'"}}, "sync_obproxy_parameter", ["init_sql", "quote"]),
    "quote in password": ({}, {"obproxy_proxyro_password": "it's"}, "set_obproxy_user_password", ["quote", "choose"]),
    "other root servers": (
        {"state": "rs-list"},
        {"obproxy_start_mode": "rs_list", "obproxy_rs_list": "192.0.2.1:2881"},
        "prepare_obproxy_install",
        ["rootservice_list is 127.0.0.1:2881", "192.0.2.1:2881"],
    ),
    "not root": (
        {},
        {"ansible_become": False},
        "prepare_obproxy_install",
        ["acts as root", "ordinary user", "sudoers"],
    ),
    "no agent": ({}, {"obproxy_agent_required": True}, "refresh_agent_config", ["agent is installed", "install"]),
}


@pytest.fixture(scope="module")
def outcome(lab: Lab) -> Iterator[tuple[Play, dict[str, LabHost], dict[str, int | None]]]:
    """One takeover of all cases' hosts at once; the hosts, and the pids of their OBProxies before it, by case."""
    names = {case: f"failing-{number}" for number, case in enumerate(CASES)}
    specs = [HostSpec(names[case], 5000 + number, **CASES[case][0]) for number, case in enumerate(CASES)]
    hosts = dict(zip(CASES, lab.start_many(specs), strict=True))
    pids = {case: host.proxy_pid() for case, host in hosts.items()}
    try:
        own = {names[case]: CASES[case][1] for case in CASES}
        yield play(lab, *hosts.values(), host_variables=own), hosts, pids
    finally:
        for host in hosts.values():
            host.remove()


@pytest.mark.parametrize("case", CASES)
def test_a_failed_prerequisite_is_reported(
    outcome: tuple[Play, dict[str, LabHost], dict[str, int | None]], case: str
) -> None:
    done, hosts, pids = outcome
    _, _, role, words = CASES[case]
    failing, message = done.failure(hosts[case])
    assert (failing, done.code != 0) == (role, True), message
    for word in [*words, "Rule: ", " Found: ", " Fix: "]:
        assert word in message
    assert hosts[case].proxy_pid() == pids[case]
    assert "Proxysys#1" not in message and "Proxyro#1" not in message


def test_all_failed_rules_are_reported_at_once(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("rs-list")
    _, message = play(lab, host, variables={"obproxy_package_version": "3.2.3-1"}).failure(host)
    assert "start mode" in message and "not mixed" in message
    assert message.count("Fix: ") == 2


def test_a_full_disk_is_found_before_anything_changes(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("full-disk")
    done = play(lab, host)
    role, message = done.failure(host)
    assert role == "prepare_create_obproxy" and "0 MiB free" in message and host.home in message
    assert done.changed(host) == []


def test_a_foreign_watchdog_is_found_by_name(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    host.run(
        "mkdir -p /home/other && printf '#!/bin/bash\\nsleep 600\\n' > /home/other/obproxyd.sh "
        "&& chmod 755 /home/other/obproxyd.sh && cd / && (setsid /home/other/obproxyd.sh </dev/null >/dev/null 2>&1 &)"
    )
    role, message = play(lab, host).failure(host)
    assert role == "check_process_not_exist" and "obproxyd.sh with pid" in message and "/home/other" in message


def test_another_process_on_the_exporter_s_port(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("stopped")
    host.run("(setsid nc -lk 2884 </dev/null >/dev/null 2>&1 &) ; sleep 0.2")
    host.run(f"cd {host.home} && runuser -u admin -- ./bin/obproxyd.sh -c start -n test -p 2883")
    host.run("for i in $(seq 100); do ss -Hltn 'sport = :2883' | grep -q . && exit 0; sleep 0.1; done; exit 1")
    role, message = play(lab, host).failure(host)
    assert role == "prepare_create_obproxy" and "port 2884 is held by nc" in message
    role, message = play(lab, host, arguments=("--tags", "register_obproxy_exporter")).failure(host)
    assert role == "register_obproxy_exporter" and "port 2884 is held by nc" in message


def test_another_manager_s_host_is_rejected_unless_accepted(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    fact = "/etc/ansible/facts.d/obproxy.fact"
    host.run(f"""mkdir -p /etc/ansible/facts.d && echo '{{"managed_by": "ocp", "cluster_name": "x"}}' > {fact}""")
    role, message = play(lab, host).failure(host)
    assert role == "prepare_obproxy_install" and "ocp manages it in cluster x" in message
    assert play(lab, host, variables={"obproxy_accept_managed_by": ["ocp"]}).code == 0
    role, message = play(lab, host, variables={"obproxy_cluster_id": 7, "obproxy_cluster_name": "seven"}).failure(host)
    assert role == "prepare_obproxy_install" and "obproxy-takeover manages it in cluster test" in message


def test_a_sudo_that_wants_a_password(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    host.run("echo 'ops ALL=(ALL) ALL' > /etc/sudoers.d/ops && echo 'ops:Sudoer#1' | chpasswd")
    role, message = play(lab, host).failure(host)
    assert role == "" and "The login user becomes root" in message and "ansible_become_password" in message
    wrong = play(lab, host, variables={"ansible_become_password": "Wrong#1"})
    assert "The login user becomes root" in wrong.failure(host)[1] and "Wrong#1" not in wrong.text
    given = play(lab, host, variables={"ansible_become_password": "Sudoer#1"})
    assert given.code == 0, given.failure(host)
    assert "Sudoer#1" not in given.text


def test_two_packages(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    host.run("rpm -i --nodeps --force $(find / -xdev -name 'obproxy-1.9.1.1-*.rpm' | head -1)")
    role, message = play(lab, host).failure(host)
    assert role == "install_rpm" and "obproxy-1.9.1.1-1919579" in message and "remove" in message


def test_variables_are_typed_before_anything_happens(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    done = play(lab, host, variables={"obproxy_start_mode": "sideways", "obproxy_allow_restart": "perhaps"})
    _, message = done.failure(host)
    assert "obproxy_start_mode" in message and "obproxy_allow_restart" in message
    assert {role for role, _ in done.results(host)} == {""}
    assert not any("ansible_facts" in result for _, result in done.results(host)), "the host was not read"
