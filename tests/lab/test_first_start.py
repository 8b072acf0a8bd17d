"""The first start of an OBProxy: its options, and the leftovers when it fails."""

import time

import pytest

from tests.roles.playing import Play, play

from . import Lab, inventory
from .fixtures import StartHost
from .host import LabHost
from .test_draining import listening, value

START = {"obproxy_allow_start": True, "obproxy_start_seconds": 6}
BY_LIST = START | {
    "obproxy_start_mode": "rs_list",
    "obproxy_config_server_url": "",
    "obproxy_rs_list": "127.0.0.1:2881",
    "obproxy_rs_cluster_name": "obcluster",
    "obproxy_parameters": {"proxy_mem_limited": "3G"},
}
INSTALL = "/usr/local/sbin/lab-install obproxy-4.3.1.0"
HOME = "/opt/taobao/install/obproxy-4.3.1.0"


def tree(host: LabHost) -> str:
    return host.run(f"find {HOME} | sort")


def running(host: LabHost) -> str:
    return host.run("pgrep -lx 'obproxy|obproxyd.sh' || true")


def nothing_runs_for(host: LabHost, seconds: float) -> bool:
    """Return whether no OBProxy process appears for longer than a watchdog waits."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if running(host):
            return False
        time.sleep(0.1)
    return True


def assert_started_and_ended(failed: Play, host: LabHost) -> None:
    """Assert that the failed start reports each process that it has started and ended."""
    changes = [(one["what"], one["before"], one["after"]) for one in failed.result(host, "start_obproxy")["changes"]]
    ended = [before for what, before, after in changes if what == "process" and after is None]
    assert ended and changes == [change for pid in ended for change in (("process", None, pid), ("process", pid, None))]


def test_a_list_of_root_servers_needs_the_name_of_their_cluster(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("absent")
    refused = play(lab, host, variables=BY_LIST | {"obproxy_rs_cluster_name": ""})
    role, message = refused.failure(host)
    assert role == "start_obproxy" and "obproxy_rs_cluster_name is empty" in message
    assert "etc" not in host.run(f"ls {HOME}") and not running(host)
    done = play(lab, host, variables=BY_LIST)
    assert done.code == 0, done.failure(host)
    assert "start_obproxy" in done.changed(host) and value(lab, host, "rootservice_cluster_name") == "obcluster"
    assert value(lab, host, "rootservice_list") == "127.0.0.1:2881" and done.server(host)["supervised"] is True


@pytest.mark.parametrize("script", [True, False])
def test_a_failed_first_start_can_be_corrected_and_retried(lab: Lab, lab_host: StartHost, script: bool) -> None:
    """The list and the password of the second try are the ones that count."""
    host = lab_host("absent")
    host.run(INSTALL)
    if not script:
        host.run(f"rm {HOME}/bin/obproxyd.sh")
    wrong = BY_LIST | {"obproxy_rs_list": "garbage", "obproxy_sys_password": "Mistaken#1"}
    failed = play(lab, host, variables=wrong)
    role, message = failed.failure(host)
    assert role == "start_obproxy" and "its processes were stopped" in message
    if script:  # without a watchdog, the process that rejects the list ends by itself
        assert_started_and_ended(failed, host)
    assert nothing_runs_for(host, 2.5) and "etc" in host.run(f"ls {HOME}").split()
    done = play(lab, host, variables=BY_LIST)
    assert done.code == 0, done.failure(host)
    assert value(lab, host, "rootservice_list") == "127.0.0.1:2881"  # logged in with the cluster's password
    assert play(lab, host, variables=BY_LIST).stats(host)["changed"] == 0


def test_every_named_port_listens_or_the_start_has_failed(lab: Lab, lab_host: StartHost) -> None:
    """Another program takes the exporter's port after all checks, just before the start."""
    host = lab_host("absent")
    host.run(INSTALL)
    take = "until [ -s /var/lib/obproxy-takeover/done-2883.json ]; do sleep 0.005; done; exec nc -lk 2884"
    host.run(f"nohup setsid bash -c '{take}' >/dev/null 2>&1 </dev/null &")
    failed = play(lab, host, variables=BY_LIST)
    role, message = failed.failure(host)
    assert role == "start_obproxy" and "does not listen at 2884" in message
    assert_started_and_ended(failed, host)
    assert "port 2884 is held by nc (pid" in message and "the started OBProxy was stopped" in message
    assert nothing_runs_for(host, 2.5)
    host.run("pkill -x nc")
    done = play(lab, host, variables=BY_LIST)
    assert done.code == 0, done.failure(host)
    assert {"2883", "2884", "2885"} <= listening(host) and "start_obproxy" in done.changed(host)


def test_one_that_failed_is_rolled_back_to_nothing(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("absent")
    host.run(INSTALL)
    before = tree(host)
    play(lab, host, variables=BY_LIST | {"obproxy_rs_list": "garbage"}).failure(host)
    undone = play(lab, host, playbook="rollback")
    assert undone.code == 0 and "start_obproxy" in undone.changed(host), undone.text
    assert tree(host) == before and nothing_runs_for(host, 2.5)
    assert play(lab, host, playbook="rollback").changed(host) == []


def test_a_run_that_ended_in_a_start_is_rolled_back_to_nothing(lab: Lab, lab_host: StartHost) -> None:
    """The watchdog runs, no process has listened yet, and only the note shows the start."""
    host = lab_host("absent")
    host.run(INSTALL)
    before = tree(host)
    host.simulate(fatal={"syslog_level": "WDIAG"})
    note = (
        f'{{"started": true, "first_start": true, "home": "{HOME}", "owner": "admin", "made": '
        f'["{HOME}/etc", "{HOME}/log", "{HOME}/.conf", "{HOME}/control-config", "{HOME}/sharding-config"]}}'
    )
    stopped = play(lab, host, variables=START, arguments=("--tags", "prepare_create_obproxy"))
    assert stopped.code == 0, stopped.text
    host.run(
        f"echo '{note}' >/var/lib/obproxy-takeover/done-2883.json; cd {HOME}\n"
        f"OBPROXY_EXTRA_OPT=syslog_level=WDIAG runuser -u admin -- ./bin/obproxyd.sh -c start -n test -p 2883 "
        f"-u '{inventory.CLUSTERS[0].config_server_url}'"
    )
    assert "obproxyd.sh" in running(host)
    undone = play(lab, host, playbook="rollback")
    assert undone.code == 0 and "start_obproxy" in undone.changed(host), undone.text
    assert nothing_runs_for(host, 2.5) and tree(host) == before
