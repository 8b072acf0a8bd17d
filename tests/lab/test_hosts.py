"""The hosts of the lab are what their states say, reached the way that Ansible reaches them."""

import subprocess
import time

import pymysql
import pytest
import yaml

from . import inventory, states
from .errors import LabError
from .fixtures import StartHost
from .host import HostSpec, LabHost
from .lab import Lab
from .tunnel import Connection, admin, query

PASSWORDS = {
    "other-password": states.ADOPTED_PASSWORD,
    "wrong-password": states.UNKNOWN_PASSWORD,
    "empty-password": "",
}


def _ssh(lab: Lab, host: LabHost, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(lab.ssh_command(host, command), capture_output=True, text=True, check=False, timeout=60)


def _count(host: LabHost, comm: str) -> int:
    return int(host.run(f"pgrep -c -x {comm} || true"))


def _direct(host: LabHost) -> Connection:
    return pymysql.connect(host=host.address, port=2883, user="root@proxysys", password=inventory.SYS_PASSWORD)


def _value(lab: Lab, host: LabHost, name: str) -> object:
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        return query(connection, f"show proxyconfig like '{name}'")[0][1]


@pytest.mark.parametrize("version", ["4.3.1.0-1", "1.9.1.1-1919579"])
def test_a_running_host_is_reached_by_ssh_and_runs_its_proxy_as_admin(
    lab: Lab, lab_host: StartHost, version: str
) -> None:
    host = lab_host(version=version)
    pid = host.proxy_pid()
    seen = _ssh(lab, host, f"sudo -n stat -c %U /proc/{pid}; sudo -n readlink /proc/{pid}/exe /proc/{pid}/cwd")
    assert seen.stdout.split() == ["admin", f"{host.home}/bin/obproxy", host.home], seen.stderr
    assert host.run(f"cat /proc/{pid}/comm").strip() == "obproxy"
    assert host.run(f"ps -o ppid= -p {pid}").strip() == "1"
    assert host.run(f"tr '\\0' ' ' < /proc/{pid}/cmdline").startswith(f"./bin/obproxy -p 2883 -n {host.cluster} -o ")
    assert host.run(f"rpm -qf {host.home}/bin/obproxy").strip() == f"obproxy-{version}.el7.x86_64"
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        [(name, info)] = query(connection, "show proxyinfo binary")
        columns = 7 if host.cluster == "test" else 5
        assert {len(row) for row in query(connection, "show proxyconfig")} == {columns}
    assert (name, str(info).splitlines()[0]) == ("binary info", f"ObProxy-OceanBase {version}.el7")


def test_the_administrator_of_4_is_rejected_from_elsewhere_and_the_one_of_1_is_not(lab_host: StartHost) -> None:
    new, old = lab_host(), lab_host(version="1.9.1.1-1919579")
    with pytest.raises(pymysql.err.OperationalError, match=r"1045.*Access denied for user 'root@proxysys'@'10\."):
        _direct(new)
    _direct(old).close()


@pytest.mark.parametrize("state", ["other-password", "wrong-password", "empty-password"])
def test_password_states(lab: Lab, lab_host: StartHost, state: str) -> None:
    host = lab_host(state=state)
    with pytest.raises(pymysql.err.OperationalError, match="1045"), admin(lab, host, inventory.SYS_PASSWORD):
        pass
    with admin(lab, host, PASSWORDS[state]) as connection:
        assert query(connection, "select proxy_version()") == [("4.3.1.0",)]


@pytest.mark.parametrize(
    ("state", "proxies", "watchdogs", "packages"),
    [
        ("stopped", 0, 0, 1),
        ("absent", 0, 0, 0),
        ("unsupervised", 1, 0, 1),
        ("foreign", 2, 1, 1),
        ("no-nc", 1, 0, 1),
    ],
)
def test_running_processes(lab_host: StartHost, state: str, proxies: int, watchdogs: int, packages: int) -> None:
    host = lab_host(state=state)
    assert (_count(host, "obproxy"), _count(host, "obproxyd.sh")) == (proxies, watchdogs)
    assert host.run("rpm -qa 'obproxy*'").count("obproxy-4.3.1.0-1") == packages
    assert host.run("command -v nc || true").strip() == ("" if state == "no-nc" else "/usr/bin/nc")
    assert (host.proxy_pid() is None) == (state in ("stopped", "absent"))


def test_an_absent_proxy_can_be_installed_and_a_reinstallation_wipes_its_configuration(lab_host: StartHost) -> None:
    host = lab_host(state="absent")
    host.run("dnf install -y -q obproxy-4.3.1.0-1*")
    assert host.run(f"stat -c %U {host.home}/bin/obproxy").strip() == "admin"
    host.run(f"touch {host.home}/etc-was-here; mkdir {host.home}/etc; rpm -i --force /srv/obproxy-repository/*4.3.1.0*")
    assert host.run(f"ls {host.home}").split() == ["bin", "etc-was-here", "lib"]


def test_old_version(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host(state="old-version")
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        assert query(connection, "select proxy_version()") == [("1.7.4.0",)]


def test_no_sudo(lab: Lab, lab_host: StartHost) -> None:
    assert _ssh(lab, lab_host(state="no-sudo"), "sudo -n true").returncode != 0


def test_unreachable(lab: Lab, lab_host: StartHost) -> None:
    done = _ssh(lab, lab_host(state="unreachable"), "true")
    assert (done.returncode, "Connection refused" in done.stderr) == (255, True)


def test_restart_needed_differs_from_running_in_the_desired_parameters(lab: Lab, lab_host: StartHost) -> None:
    desired = inventory.CLUSTERS[0].parameters["work_thread_num"]
    assert _value(lab, lab_host(), "work_thread_num") == desired
    assert _value(lab, lab_host(state="restart-needed"), "work_thread_num") != desired


def test_slow(lab: Lab, lab_host: StartHost) -> None:
    with admin(lab, lab_host(state="slow"), inventory.SYS_PASSWORD) as connection:
        started = time.monotonic()
        query(connection, "select proxy_version()")
    assert time.monotonic() - started >= 0.5


def test_full_disk(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host(state="full-disk")
    assert host.run(f"df --output=avail {host.home}").split()[1] == "0"
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        with pytest.raises(pymysql.err.OperationalError, match="Internal error"):
            query(connection, "alter proxyconfig set proxy_route_policy = 'x'")
        assert query(connection, "show proxyconfig like 'proxy_route_policy'")[0][1] == ""


def test_owner_root(lab_host: StartHost) -> None:
    host = lab_host(state="owner-root")
    assert host.run(f"stat -c %U /proc/{host.proxy_pid()}").strip() == "root"


def test_rs_list(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host(state="rs-list")
    assert _value(lab, host, "rootservice_list") == "127.0.0.1:2881"
    assert _value(lab, host, "obproxy_config_server_url") == ""


def test_unpackaged(lab_host: StartHost) -> None:
    host = lab_host(state="unpackaged")
    executable = host.run(f"readlink /proc/{host.proxy_pid()}/exe").strip()
    assert executable == "/home/admin/obproxy/bin/obproxy"
    assert "not owned by any package" in host.run(f"rpm -qf {executable} || true")


def test_two_packages(lab_host: StartHost) -> None:
    packages = lab_host(state="two-packages").run("rpm -qa 'obproxy*'").split()
    assert sorted(packages) == ["obproxy-1.9.1.1-1919579.el7.x86_64", "obproxy-4.3.1.0-1.el7.x86_64"]


def test_no_observer(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host(state="no-observer")
    with (
        admin(lab, host, inventory.SYS_PASSWORD) as connection,
        pytest.raises(pymysql.err.OperationalError, match="Entry not exist"),
    ):
        query(connection, "show proxycluster")


def test_busy_exporter_port(lab_host: StartHost) -> None:
    assert '"nc"' in lab_host(state="busy-exporter-port").run("ss -Hltnp 'sport = :2884'")


def test_the_observer_behind_it_is_listed(lab: Lab, lab_host: StartHost) -> None:
    with admin(lab, lab_host(), inventory.SYS_PASSWORD) as connection:
        [row] = query(connection, "show proxycluster")
    assert (row[0], row[3:]) == (states.OBSERVER_CLUSTER, ("127.0.0.1:2881", "leader", "FULL"))


def test_the_inventory_follows_the_hosts(lab: Lab, lab_host: StartHost) -> None:
    new, old = lab_host(), lab_host(version="1.9.1.1-1919579")
    tree = yaml.safe_load((lab.inventory / "hosts.yml").read_text(encoding="utf-8"))["all"]
    assert tree["hosts"][new.name] == {"ansible_host": new.address, "ocp_host_id": new.host_id}
    assert [tree["children"][group]["hosts"] for group in ("test", "legacy")] == [{new.name: {}}, {old.name: {}}]
    old.remove()
    tree = yaml.safe_load((lab.inventory / "hosts.yml").read_text(encoding="utf-8"))["all"]
    assert list(tree["hosts"]) == [new.name]


def test_a_host_at_a_removed_host_s_address_has_its_mac_address(lab: Lab, lab_host: StartHost) -> None:
    """Otherwise it is not reached until this machine has forgotten the old one."""

    def mac(host: LabHost) -> str:
        return host.run("cat /sys/class/net/eth0/address")

    first = lab_host()
    seen = mac(first)
    first.remove()
    second = lab_host()
    assert (second.address, mac(second)) == (first.address, seen)


def test_a_frozen_host_keeps_its_connections(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    with admin(lab, host, inventory.SYS_PASSWORD) as connection:
        host.pause()
        host.resume()
        connection.ping(reconnect=False)


def test_a_state_that_cannot_be_made_reports_the_reason(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = states.State(script="echo this went wrong; false\n")
    monkeypatch.setitem(states.STATES, "broken", broken)
    with pytest.raises(LabError, match=r"(?s)nothing answers at port 22.*this went wrong"):
        lab.start("broken", host_id=1, state="broken")
    assert "broken" not in lab.hosts


def test_several_hosts_start_together_and_a_bad_one_leaves_nothing(lab: Lab) -> None:
    hosts = lab.start_many([HostSpec(f"many-{number}", number) for number in range(1, 4)])
    assert len({host.address for host in hosts}) == 3
    with pytest.raises(LabError, match="No state nosuch; there are running,"):
        lab.start_many([HostSpec("many-4", 4), HostSpec("many-5", 5, state="nosuch")])
    for host in hosts:
        host.remove()
    assert [name for name in lab.hosts if name.startswith("many")] == []
