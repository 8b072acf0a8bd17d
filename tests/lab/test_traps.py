"""The 29 traps of docs/reference/obproxy.md 9: the test of each, here where no other module has it."""

import ast
import re
from pathlib import Path

import pytest

from tests.roles.playing import play

from . import Lab
from .fixtures import StartHost

ROOT = Path(__file__).parents[2]
CONTRIBUTING = "CONTRIBUTING.md"  # has the reason why the trap cannot occur
# Trap: the tests as file::function or file::text of a case, below tests/.
HELD = {
    1: ["lab/test_lifecycle.py::test_start_that_fails", "lab/test_restart.py::test_a_failed_restart_is_undone"],
    2: [
        "lab/test_lifecycle.py::test_without_a_port_it_listens_at_an_unexpected_one",
        "roles/test_permission.py::test_a_missing_package_is_installed_and_started",
    ],
    3: [
        "lab/test_hosts.py::test_the_administrator_of_4_is_rejected_from_elsewhere_and_the_one_of_1_is_not",
        "roles/test_takeover.py::test_rejected_forwarding_of_sshd_is_bypassed",
    ],
    4: [
        "roles/test_permission.py::test_a_stopped_proxy_is_started_once",
        "unit/test_ansible_text.py::test_stage_one_is",
    ],
    5: ['roles/test_failures.py::"wrong password"', "roles/test_takeover.py::test_an_empty_password_is_replaced"],
    6: [
        "roles/test_takeover.py::test_a_takeover_and_a_second_one",
        "lab/test_traps.py::test_a_similar_process_is_no_obproxy",
    ],
    7: ["roles/test_takeover.py::test_a_takeover_and_a_second_one", "lab/test_conformance.py::test_"],
    8: [
        "unit/test_ansible_parameter_values.py::test_values_outside_the_grammar_are_rejected",
        'roles/test_failures.py::"quote"',
    ],
    9: ["lab/test_restart.py::test_without_permission_nothing_is_restarted"],
    10: ["roles/test_takeover.py::test_a_takeover_and_a_second_one"],
    11: [
        "lab/test_traps.py::test_a_similar_process_is_no_obproxy",
        "unit/test_ansible_probe.py::test_keywords_match_names",
    ],
    12: [
        "lab/test_traps.py::test_a_similar_process_is_no_obproxy",
        "roles/test_takeover.py::test_a_takeover_and_a_second",
    ],
    13: ['roles/test_failures.py::"two proxies"'],
    14: ["lab/test_restart.py::test_an_old_version_is_stopped_and_started_one_host_at_a_time"],
    15: ["lab/test_restart.py::test_an_old_version_is_stopped_and_started_one_host_at_a_time"],
    16: ['roles/test_failures.py::"no nc"', "lab/test_watchdog.py::test_without_nc_it_launches_one_after_the_other"],
    17: ["lab/test_traps.py::test_nothing_is_installed_over_a_live_one"],
    18: ["lab/test_restart.py::test_an_old_version_is_stopped_and_started_one_host_at_a_time"],
    19: ["lab/test_restart.py::test_a_hot_restart", "lab/test_traps.py::test_a_replaced_binary_is_not_started_by"],
    20: ["roles/test_failures.py::test_another_process_on_the_exporter_s_port"],
    21: ["roles/test_failures.py::test_a_full_disk_is_found_before_anything_changes"],
    22: ['roles/test_failures.py::"owner root"'],
    23: [
        "roles/test_takeover.py::test_no_secret_is_ever_printed",
        "unit/test_ansible_text.py::test_arguments_lose",
    ],
    24: [CONTRIBUTING],
    25: ["lab/test_traps.py::test_one_that_reaches_no_cluster_is_adopted"],
    26: [CONTRIBUTING],
    27: ["lab/test_restart.py::test_an_old_version_is_stopped_and_started_one_host_at_a_time"],
    28: ["roles/test_permission.py::test_a_stopped_proxy_is_started_once"],
    29: ["unit/test_ansible_parameter_values.py::test_per_server_and_secret_parameters_are_never_set", CONTRIBUTING],
}


def functions(path: Path) -> list[str]:
    return [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("trap", range(1, 30))
def test_every_trap_is_accounted_for(trap: int) -> None:
    for place in HELD[trap]:
        if place == CONTRIBUTING:
            assert re.search(rf"^\| {trap} \|", (ROOT / CONTRIBUTING).read_text(), re.MULTILINE)
            continue
        name, _, what = place.partition("::")
        path = ROOT / "tests" / name
        if what.startswith("test_"):
            assert any(function.startswith(what) for function in functions(path)), place
        else:
            assert f"{what}:" in path.read_text(), place


def test_a_similar_process_is_no_obproxy(lab: Lab, lab_host: StartHost) -> None:
    """Traps 6, 11 and 12.

    Programs with obproxy in their arguments (11), its watchdog run as `bash obproxyd.sh`, whose comm is not the
    script's (12), and SHOW PROXYCONFIG LIKE with _ and syslog_level (6).
    """
    host = lab_host()
    host.run(
        f"cd {host.home}; ps -C obproxyd.sh -o pid= | xargs kill -9\n"
        "(setsid tail -f log/obproxy.log </dev/null >/dev/null 2>&1 &)\n"
        "(setsid runuser -u admin -- bash ./bin/obproxyd.sh -c checkalive -n test -p 2883 </dev/null >&0 2>&0 &)\n"
        "(setsid python3 -c 'import time; time.sleep(600)' /roles/obproxy/obproxyd.sh </dev/null >/dev/null 2>&1 &)\n"
        "for _ in $(seq 50); do pgrep -f 'bash ./bin/obproxyd.sh' >/dev/null && exit 0; sleep 0.1; done; exit 1"
    )
    parameters = {"syslog_level": "INFO", "proxy_mem_limited": "3G"}
    done = play(lab, host, variables={"obproxy_parameters": parameters})
    assert done.code == 0, done.failure(host)
    assert done.server(host)["supervised"] is True
    assert play(lab, host, variables={"obproxy_parameters": parameters}).stats(host)["changed"] == 0


def test_nothing_is_installed_over_a_live_one(lab: Lab, lab_host: StartHost) -> None:
    """Not even with every permission, and without a package in rpm: installing it would wipe the store (17)."""
    host = lab_host()
    host.run("rpm -e --justdb --nodeps obproxy")
    pid, stored = host.proxy_pid(), host.run(f"stat -c '%n %i' {host.home}/etc/*").split("\n")
    done = play(lab, host, variables={"obproxy_allow_start": True, "obproxy_allow_restart": True})
    assert done.code == 0, done.failure(host)
    assert "install_rpm" not in done.changed(host) and host.run("rpm -qa obproxy").strip() == ""
    assert done.server(host)["drift"] == [f"the running binary {host.home}/bin/obproxy belongs to no package"]
    assert host.proxy_pid() == pid and host.run(f"stat -c '%n %i' {host.home}/etc/*").split("\n") == stored


def test_a_replaced_binary_is_not_started_by_the_way(lab: Lab, lab_host: StartHost) -> None:
    """A restart would silently run another program (19): it is rejected, and no parameter was set."""
    host = lab_host("restart-needed")
    host.run(f"cd {host.home}/bin; cp -p obproxy new; mv new obproxy")
    pid = host.proxy_pid()
    role, message = play(lab, host, variables={"obproxy_allow_restart": True}).failure(host)
    assert role == "start_obproxy" and "a restart would start another one" in message and host.proxy_pid() == pid
    role, message = play(lab, host).failure(host)
    assert role == "sync_obproxy_parameter" and "work_thread_num is '4'" in message


def test_one_that_reaches_no_cluster_is_adopted(lab: Lab, lab_host: StartHost) -> None:
    """SHOW PROXYCLUSTER of an idle one is empty on old versions, and an error on others (25)."""
    host = lab_host("no-observer")
    assert play(lab, host).code == 0
