"""Operations that need a permission: a start, an install, a parameter that waits for a restart."""

from typing import Any

from tests.lab import Lab
from tests.lab.fixtures import StartHost
from tests.lab.host import LabHost
from tests.waiting import until

from .playing import Play, play

GIVEN = {"obproxy_current_sys_password": "Adopted#0"}
START = {"obproxy_allow_start": True}
HOME = "/opt/taobao/install/obproxy-4.3.1.0"
EVERYTHING_OF_PACKAGES = "rpm -qa | sort; find /opt | sort"
RESTART = {"obproxy_allow_restart": True}


def test_a_stopped_proxy_is_started_once(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("stopped")
    checked = play(lab, host, arguments=("--check",), variables=START)
    assert checked.code == 0 and "start_obproxy" in checked.changed(host) and host.proxy_pid() is None
    first = play(lab, host, variables=START)
    assert first.code == 0 and "start_obproxy" in first.changed(host)
    pid = host.proxy_pid()
    assert first.server(host)["pid"] == pid and first.server(host)["supervised"] is True
    second = play(lab, host, variables=START)
    assert second.stats(host)["changed"] == 0 and host.proxy_pid() == pid
    assert host.run("stat -c %U /proc/$(pgrep -x obproxy)").strip() == "admin"


def test_a_missing_package_is_installed_and_started(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("absent")
    first = play(lab, host, variables=START)
    assert first.code == 0, first.failure(host)
    assert {"install_rpm", "start_obproxy"} <= set(first.changed(host))
    assert first.server(host)["package"] == "obproxy-4.3.1.0-1.el7.x86_64"
    assert play(lab, host).stats(host)["changed"] == 0


def test_pending_restart_parameters_are_stored_until_the_restart(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("restart-needed")
    pid = host.proxy_pid()
    first = play(lab, host, variables=RESTART, arguments=("--tags", "sync_obproxy_parameter"))
    assert first.code == 0 and host.proxy_pid() == pid
    assert first.server(host)["pending_restart"] == ["work_thread_num"]
    assert play(lab, host).code == 0
    second = play(lab, host)
    assert second.stats(host)["changed"] == 0 and host.proxy_pid() == pid
    assert second.server(host)["pending_restart"] == ["work_thread_num"]


def test_a_rollback_leaves_the_host_as_it_was(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("other-password")
    pid = host.proxy_pid()
    assert play(lab, host, variables=GIVEN).code == 0
    checked = play(lab, host, playbook="rollback", arguments=("--check", "--diff"), variables=GIVEN)
    assert checked.code == 0
    undone = play(lab, host, playbook="rollback", variables=GIVEN)
    assert undone.code == 0, undone.failure(host)
    assert undone.changed(host) == checked.changed(host)
    assert undone.changed(host) == [
        "update_obproxy_status",
        "set_obproxy_user_password",
        "sync_obproxy_parameter",
        "prepare_create_obproxy",
    ]
    assert host.proxy_pid() == pid
    assert host.run("ls /etc/ansible/facts.d 2>/dev/null || true").strip() == ""
    assert host.run("ls -d /var/lib/obproxy-takeover 2>/dev/null || true").strip() == ""
    again = play(lab, host, playbook="rollback", variables=GIVEN)
    assert again.code == 0 and again.changed(host) == []
    # The four again, and finish forgets the former password, which only this kind of takeover has kept.
    assert play(lab, host, variables=GIVEN).stats(host)["changed"] == 5


def test_a_rollback_stops_and_removes_only_additions_of_the_takeover(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("absent")
    before = host.run(EVERYTHING_OF_PACKAGES)
    done = play(lab, host, variables=START)
    assert done.code == 0
    (installed,) = package_changes(done, host)
    alone = play(lab, host, playbook="rollback", arguments=("--tags", "install_rpm"))
    role, message = alone.failure(host)
    assert role == "install_rpm" and "roll the start back too" in message and host.proxy_pid() is not None
    undone = play(lab, host, playbook="rollback")
    assert undone.code == 0 and {"start_obproxy", "install_rpm"} <= set(undone.changed(host))
    (removed,) = package_changes(undone, host)
    assert (removed["name"], removed["before"], removed["after"]) == (installed["name"], installed["after"], None)
    assert host.run("pgrep -c obproxy || true").strip() == "0"
    assert host.run(EVERYTHING_OF_PACKAGES) == before, "logs and settings too"
    assert play(lab, host, playbook="rollback").changed(host) == []


def test_a_rollback_spares_the_package_of_an_obproxy_at_another_port(lab: Lab, lab_host: StartHost) -> None:
    """Such as one that was started by hand when the port of the takeover was in use."""
    host = lab_host("absent")
    tags = ("--tags", "prepare_create_obproxy,install_rpm")
    assert "install_rpm" in play(lab, host, variables=START, arguments=tags).changed(host)
    options = "prometheus_listen_port=3884,enable_obproxy_rpc_service=False"
    host.run(f"cd {HOME} && runuser -u admin -- ./bin/obproxy -p 3883 -n test -r 127.0.0.1:2881 -o {options}")
    until(lambda: host.run("ss -Hltn 'sport = :3883'"), "no OBProxy listens")
    before = host.run(EVERYTHING_OF_PACKAGES)
    for arguments in (("--check",), ()):
        role, message = play(lab, host, playbook="rollback", arguments=arguments).failure(host)
        assert role == "install_rpm" and "at ports 3883" in message
    assert host.run(EVERYTHING_OF_PACKAGES) == before
    host.run("pkill -x obproxy")
    until(lambda: host.run("pgrep -cx obproxy || true").strip() == "0", "the OBProxy still runs")
    assert play(lab, host, playbook="rollback").code == 0


def test_a_rollback_spares_a_home_that_was_there_before(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("absent")
    host.run(f"mkdir -p {HOME}/kept && chown -R admin:admin {HOME}")
    assert play(lab, host, variables=START).code == 0
    assert play(lab, host, playbook="rollback").code == 0
    assert host.run("rpm -qa 'obproxy*'").strip() == ""
    assert "kept" in host.run(f"ls {HOME}").split()


AGENT = """
mkdir -p /home/admin/ocp_agent/bin /home/admin/ocp_agent/conf/module_config
cat > /home/admin/ocp_agent/bin/ocp_agentctl <<'END'
#!/bin/sh
echo "$(id -un) $*" >> /home/admin/ocp_agent/calls
[ ! -e /home/admin/ocp_agent/refuses ] || { echo '{"successful": false, "error": "no such module"}' >&2; exit 255; }
END
chmod 755 /home/admin/ocp_agent/bin/ocp_agentctl
chown -R admin:admin /home/admin/ocp_agent
"""
CONFIGURATION = "/home/admin/ocp_agent/conf/module_config/obproxy.yaml"


def test_the_agent_is_called_as_its_owner(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    host.run(AGENT)
    first = play(lab, host, variables={"obproxy_agent_required": True})
    assert first.code == 0 and "refresh_agent_config" in first.changed(host)
    calls = ["admin config --validate", "admin config --notify obproxy"]
    assert host.run("cat /home/admin/ocp_agent/calls").splitlines() == calls
    assert host.run(f"stat -c %U {CONFIGURATION}").strip() == "admin"
    assert "http://127.0.0.1:2884/metrics" in host.run(f"cat {CONFIGURATION}")
    assert play(lab, host).stats(host)["changed"] == 0
    assert host.run("cat /home/admin/ocp_agent/calls").splitlines() == calls, "a second run has reloaded the agent"


def test_an_agent_that_rejects_a_change_keeps_its_former_configuration(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    host.run(
        AGENT + f"\necho theirs > {CONFIGURATION}; chown admin {CONFIGURATION}; touch /home/admin/ocp_agent/refuses"
    )
    role, message = play(lab, host).failure(host)
    assert role == "refresh_agent_config" and "no such module" in message
    assert host.run(f"cat {CONFIGURATION}").strip() == "theirs"
    host.run("rm /home/admin/ocp_agent/refuses")
    assert play(lab, host).code == 0
    assert play(lab, host, playbook="rollback").code == 0
    assert host.run(f"cat {CONFIGURATION}").strip() == "theirs"


def package_changes(done: Play, host: LabHost) -> list[dict[str, Any]]:
    """Return the packages that a run has installed or removed."""
    changes = [change for _, result in done.results(host) for change in result.get("changes", ())]
    return [change for change in changes if change["what"] == "package"]
