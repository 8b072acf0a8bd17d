"""The takeover by bare ansible-playbook on real hosts: its changes, unchanged parts, and output."""

import json
from typing import Any

import pytest

from tests.lab import Lab, LabHost
from tests.lab.fixtures import StartHost
from tests.lab.traffic import held

from .playing import RUN, play

CHANGING = ["prepare_create_obproxy", "sync_obproxy_parameter", "set_obproxy_user_password", "update_obproxy_status"]
FACT = "/etc/ansible/facts.d/obproxy.fact"
GIVEN = {"obproxy_current_sys_password": "Adopted#0"}
SECRETS = ("Proxysys#1", "Proxyro#1", "Adopted#0")


def fact_of(host: LabHost) -> dict[str, Any]:
    return dict(json.loads(host.run(f"cat {FACT}")))


def files_of(host: LabHost) -> str:
    """Every file below /etc, /var/lib and /home and of the OBProxy's configuration, with what it holds."""
    return host.run(
        "find /etc /var/lib /home /tmp /root -xdev -type f "
        "-not -path '*/log/*' -not -path '*/.cache/*' -not -path '/var/lib/rpm/*' "
        "-print0 | sort -z | xargs -0 sha256sum"
    )


@pytest.mark.parametrize("version", ["4.3.1.0-1", "1.9.1.1-1919579"])
def test_a_takeover_and_a_second_one(lab: Lab, lab_host: StartHost, version: str) -> None:
    host = lab_host(version=version)
    pid = host.proxy_pid()
    first = play(lab, host, as_program=True)
    assert first.code == 0, first.failure(host)
    old = version.startswith("1.")
    assert first.changed(host) == [role for role in CHANGING if not (old and role == "set_obproxy_user_password")]
    assert host.proxy_pid() == pid
    learned = first.server(host)
    parameters, definitions = learned.pop("parameters"), learned.pop("parameter_definitions")
    assert parameters["listen_port"] == "2883" and parameters.keys() == definitions.keys()
    assert learned == {
        "pid": pid,
        "version": version,
        "architecture": "x86_64",
        "home": host.home,
        "owner": "admin",
        "package": f"obproxy-{version}.el7.x86_64",
        "start_mode": "config_url",
        "exporter_port": 2884,
        "supervised": True,
        "pending_restart": [],
        "drift": [],
        "parameter_drift": [],
        "password_drift": [],
        "is_synchronised": True,
        "managed_by": "obproxy-takeover",
    }
    assert fact_of(host) == {
        "managed_by": "obproxy-takeover",
        "cluster_id": 2 if old else 1,
        "cluster_name": "legacy" if old else "test",
        "sql_port": 2883,
        "version": version,
        "home": host.home,
        "owner": "admin",
        "exporter_port": 2884,
        "start_mode": "config_url",
    }
    second = play(lab, host)
    assert second.code == 0 and second.stats(host)["changed"] == 0
    assert host.proxy_pid() == pid
    assert second.server(host) == first.server(host)


def test_check_mode_changes_nothing_and_reports_changes(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    before = files_of(host)
    checked = play(lab, host, arguments=("--check", "--diff"))
    assert checked.code == 0 and checked.changed(host) == CHANGING
    assert files_of(host) == before
    diff = checked.result(host, "sync_obproxy_parameter")["diff"]
    assert "proxy_mem_limited=2G\n" in diff["before"] and "proxy_mem_limited=3G\n" in diff["after"]
    again = play(lab, host, arguments=("--check",))
    assert again.changed(host) == CHANGING, "the check itself has changed something"


def test_some_roles_alone(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    chain = "sync_obproxy_parameter,set_obproxy_user_password,refresh_agent_config"
    done = play(lab, host, arguments=("--tags", chain))
    assert done.code == 0 and done.changed(host) == ["sync_obproxy_parameter", "set_obproxy_user_password"]
    assert {role for role, _ in done.results(host)} == {"", *chain.split(",")}
    assert play(lab, host).changed(host) == ["prepare_create_obproxy", "update_obproxy_status"]


def test_no_client_notices(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    with held(host) as traffic:
        assert play(lab, host).code == 0
    assert traffic.problems == [] and min(traffic.answers) > 0


def test_hosts_one_after_the_other(lab: Lab, lab_host: StartHost) -> None:
    hosts = [lab_host(), lab_host()]
    done = play(lab, *hosts, variables={"obproxy_serial": 1})
    assert done.code == 0 and done.text.count("PLAY [Take over OBProxy]") == 2


def test_a_failing_host_stops_no_other(lab: Lab, lab_host: StartHost) -> None:
    good, bad, gone = lab_host(), lab_host("no-nc"), lab_host("unreachable")
    done = play(lab, good, bad, gone)
    assert done.code != 0
    assert done.stats(good)["failures"] == 0 and fact_of(good)["managed_by"] == "obproxy-takeover"
    assert done.stats(bad)["failures"] == 1 and done.stats(gone)["unreachable"] == 1


def test_at_most_six_executions_on_the_host_all_marked(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    host.run(
        "mv /usr/bin/sudo /usr/bin/sudo.real && printf '%s\\n' '#!/bin/sh' 'echo \"$*\" >> /tmp/executions' "
        "'exec /usr/bin/sudo.real \"$@\"' > /usr/bin/sudo && chmod 755 /usr/bin/sudo && touch /tmp/executions "
        "&& chmod 666 /tmp/executions"
    )
    assert play(lab, host).code == 0
    executions = host.run("cat /tmp/executions").splitlines()
    assert 1 <= len(executions) <= 6
    assert all(f"OBPROXY_TAKEOVER={RUN}" in line for line in executions)


def test_the_password_it_has_now_can_be_given(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("other-password")
    role, message = play(lab, host).failure(host)
    assert role == "prepare_create_obproxy" and "tried: cluster, empty" in message
    first = play(lab, host, variables=GIVEN)
    assert first.code == 0 and "set_obproxy_user_password" in first.changed(host)
    assert play(lab, host, variables=GIVEN).stats(host)["changed"] == 0
    assert play(lab, host).stats(host)["changed"] == 0


def test_an_empty_password_is_replaced(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("empty-password")
    assert "set_obproxy_user_password" in play(lab, host).changed(host)
    assert play(lab, host).stats(host)["changed"] == 0


@pytest.mark.parametrize("arguments", [(), ("--check", "--diff"), ("-vvv",)])
def test_no_secret_is_ever_printed(lab: Lab, lab_host: StartHost, arguments: tuple[str, ...]) -> None:
    host = lab_host("other-password")
    told = play(lab, host, arguments=arguments, variables=GIVEN)
    assert told.code == 0
    text = told.text + json.dumps(told.lines) + host.run("cat /var/lib/obproxy-takeover/*.json || true")
    for secret in SECRETS:
        assert secret not in text
    # The hash is enough to log in with by -o (docs/reference/obproxy.md trap 23).
    assert "obproxy_sys_password=***" in text


def test_a_slow_proxy_is_taken_over(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("slow")
    assert play(lab, host).code == 0


def test_an_unsupervised_proxy_is_adopted_with_drift(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("unsupervised")
    done = play(lab, host)
    assert done.code == 0
    assert done.server(host)["drift"] == ["no watchdog (obproxyd.sh) supervises it"]
    assert done.server(host)["supervised"] is False


def test_another_version_is_adopted_with_drift(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    done = play(lab, host, variables={"obproxy_package_version": "4.3.2.0-7"})
    assert done.code == 0
    assert done.server(host)["drift"] == ["version 4.3.1.0-1 runs, the cluster's is 4.3.2.0-7"]


def test_rejected_forwarding_of_sshd_is_bypassed(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    host.run("echo 'AllowTcpForwarding no' >> /etc/ssh/sshd_config && pkill -HUP -o -x sshd")
    assert play(lab, host).code == 0


def test_hosts_that_are_no_ocp_hosts_are_left_out(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    done = play(lab, host, variables={"ocp_host_id": None})
    assert done.code == 0 and not done.changed(host)
