"""After a failure at any of the twelve subtasks, the rollback leaves the host as it was: all of it, compared."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.roles.playing import Play, play

from . import Lab
from .host import HostSpec, LabHost
from .podman import podman
from .state_of import State, differing, states_of
from .tunnel import admin, query

SYS, PROXYRO = "Adopted#0", "Former#3"
GIVEN = {
    "obproxy_current_sys_password": SYS,
    "obproxy_current_proxyro_password": PROXYRO,
}
FORGOTTEN = "forgotten"  # the host whose former password of proxyro is unknown
FACT = "/etc/ansible/facts.d/obproxy.fact"
# Existing state: another manager's note, and an agent that has a file for an OBProxy.
SETTING = f"""
mkdir -p /etc/ansible/facts.d
printf '{{"managed_by": "ocp"}}' > {FACT}; chmod 640 {FACT}
mkdir -p /home/admin/ocp_agent/bin /home/admin/ocp_agent/conf/module_config
printf '#!/bin/sh\\n[ ! -e /run/agent-refuses ]\\n' > /home/admin/ocp_agent/bin/ocp_agentctl
echo theirs > /home/admin/ocp_agent/conf/module_config/obproxy.yaml
chmod 755 /home/admin/ocp_agent/bin/ocp_agentctl; chmod 600 /home/admin/ocp_agent/conf/module_config/obproxy.yaml
chown -R admin:admin /home/admin/ocp_agent
"""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Failure of a takeover.

    command: run on the host; mounts: run with the right to mount; switches: of the simulated OBProxy; sql: for its
    administrator; variables: of the host in the inventory.
    """

    command: str = "true"
    mounts: str = "true"
    switches: Mapping[str, object] = field(default_factory=dict)
    sql: str = ""
    variables: Mapping[str, object] = field(default_factory=dict)


FOREIGN_WATCHDOG = """
mkdir -p /home/other && printf '#!/bin/bash\\nsleep 600\\n' > /home/other/obproxyd.sh
chmod 755 /home/other/obproxyd.sh
cd / && (setsid /home/other/obproxyd.sh </dev/null >/dev/null 2>&1 &)
"""
FAULTS = {
    "prepare_obproxy_install": Fault(variables={"obproxy_package_version": "3.2.3-1"}),
    "prepare_create_obproxy": Fault(command="touch /var/lib/obproxy-takeover"),  # where a directory is wanted
    "check_process_not_exist": Fault(command=FOREIGN_WATCHDOG),
    "check_command": Fault(variables={"obproxy_commands_to_check": ["nc", "no-such-command"]}),
    "install_rpm": Fault(command="/usr/local/sbin/lab-install obproxy-1.9.1.1"),
    "start_obproxy": Fault(sql="alter proxyconfig set listen_port = '2999'"),
    "sync_obproxy_parameter": Fault(switches={"refuse": ["slow_query_time_threshold"]}),
    "set_obproxy_user_password": Fault(switches={"refuse": ["obproxy_sys_password"]}),
    "refresh_agent_config": Fault(command="touch /run/agent-refuses"),
    "register_obproxy_exporter": Fault(switches={"metrics": "500 Broken"}),
    # The note can be read, and not be replaced.
    "update_obproxy_status": Fault(mounts=f"mount --bind {FACT} {FACT}"),
    "finish": Fault(command="mkdir /etc/ansible/facts.d/.obproxy-takeover-1-x"),
    FORGOTTEN: Fault(command="mkdir /etc/ansible/facts.d/.obproxy-takeover-1-x"),
}


def variables_of(role: str) -> dict[str, Mapping[str, object]]:
    """Return the inventory's variables of the host: always, and for the takeover only."""
    always: dict[str, object] = {"obproxy_accept_managed_by": ["ocp"], **FAULTS[role].variables}
    given = {name: value for name, value in GIVEN.items() if role != FORGOTTEN or "proxyro" not in name}
    return {"always": always, "takeover": always | given}


@dataclass(frozen=True)
class Restored:
    """One run of the takeover over all the hosts, one of the rollback, and another one; the state in between."""

    hosts: Mapping[str, LabHost]
    takeover: Play
    rollback: Play
    again: Play
    before: Mapping[str, State]
    after: Mapping[str, State]


def prepare(lab: Lab, host: LabHost, fault: Fault) -> None:
    host.run(SETTING + fault.command)
    podman("exec", "--privileged", host.container, "bash", "-ec", fault.mounts)
    with admin(lab, host, SYS) as connection:
        query(connection, f"alter proxyconfig set observer_sys_password = '{PROXYRO}'")
        if fault.sql:
            query(connection, fault.sql)
    host.simulate(**fault.switches)


@pytest.fixture(scope="module")
def restored(lab: Lab) -> Iterator[Restored]:
    """All the hosts side by side: a failed host stops no other."""
    specs = [HostSpec(f"restored-{n}", 6000 + n, state="other-password") for n in range(len(FAULTS))]
    hosts = dict(zip(FAULTS, lab.start_many(specs), strict=True))
    try:
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda role: prepare(lab, hosts[role], FAULTS[role]), FAULTS))
        before = states_of(lab, hosts, SYS)
        given = {hosts[role].name: variables_of(role)["takeover"] for role in FAULTS}
        takeover = play(lab, *hosts.values(), host_variables=given)
        # A later run: it has only the inventory and the record.
        own = {hosts[role].name: variables_of(role)["always"] for role in FAULTS}
        rollback = play(lab, *hosts.values(), playbook="rollback", host_variables=own)
        after = states_of(lab, hosts, SYS)
        again = play(lab, *hosts.values(), playbook="rollback", host_variables=given)
        yield Restored(hosts, takeover, rollback, again, before, after)
    finally:
        for host in hosts.values():
            host.remove()


@pytest.mark.parametrize("role", [role for role in FAULTS if role != FORGOTTEN])
def test_after_a_failure_the_rollback_leaves_the_host_as_it_was(restored: Restored, role: str) -> None:
    host = restored.hosts[role]
    failed, message = restored.takeover.failure(host)
    assert failed == role, message
    assert restored.rollback.stats(host)["failures"] == 0, restored.rollback.failure(host)
    assert restored.before[role] == restored.after[role], differing(restored.before[role], restored.after[role])


@pytest.mark.parametrize("role", FAULTS)
def test_rolled_back_twice_is_once(restored: Restored, role: str) -> None:
    host = restored.hosts[role]
    assert restored.again.stats(host)["changed"] == restored.again.stats(host)["failures"] == 0


def test_unknown_former_values_are_named(restored: Restored) -> None:
    host = restored.hosts[FORGOTTEN]
    assert restored.rollback.stats(host)["failures"] == 0
    # The last result of the role is that of the debug, which an operator sees.
    message = str(restored.rollback.result(host, "set_obproxy_user_password"))
    assert "observer_sys_password is not restored" in message and "set obproxy_current_proxyro_password" in message
    before, after = (dict(found[FORGOTTEN]) for found in (restored.before, restored.after))
    parameters = [dict(found.pop("parameters")) for found in (before, after)]  # type: ignore[call-overload]
    assert before == after, differing(before, after)
    assert {name for name in parameters[0] if parameters[0][name] != parameters[1][name]} == {"observer_sys_password"}


@pytest.mark.parametrize("role", list(FAULTS)[:6])
def test_a_takeover_without_changes_undoes_nothing(restored: Restored, role: str) -> None:
    """Up to starting the OBProxy, all that an adoption leaves on the host is its own record."""
    changed = restored.rollback.changed(restored.hosts[role])
    assert changed in ([], ["prepare_create_obproxy"])
