"""The environment of the benchmarks: lab hosts that can be reset to their state before a takeover, and the service."""

import hashlib
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import yaml

from service.cli.client import Client
from service.store import embedded
from tests.lab import HostSpec, Lab, LabHost
from tests.lab.inventory import CLUSTERS, PROXYRO_PASSWORD, SYS_PASSWORD
from tests.lab.podman import podman
from tests.lab.service import Service, running
from tests.lab.states import ADOPTED_PASSWORD
from tests.lab.tunnel import Connection, admin, query

CLUSTER = CLUSTERS[0]
WRITTEN = ("/etc/ansible/facts.d", "/var/lib/obproxy-takeover")  # all that a takeover makes on a host
_PROXYRO_BEFORE = "Before#0"
# docs/reference/obproxy.md 4.3
_STORED_PROXYRO = hashlib.sha1(PROXYRO_PASSWORD.encode(), usedforsecurity=False).hexdigest()
_AT_A_TIME = 4


class NotTakenOver(Exception):
    """A contender has not left a host in the state that a takeover leaves it in."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A lab, a warm service on its inventory, and the service's database."""

    lab: Lab
    service: Service
    client: Client
    database_url: str
    secrets: Path  # an Ansible variables file with what the service gets as proxysysPasswd
    before: Mapping[str, str]  # of each desired parameter its value before a takeover
    first_pids: Mapping[str, int]  # of each host the pid of its first process, seen from here

    @property
    def hosts(self) -> list[LabHost]:
        """In the order of their ids."""
        return sorted(self.lab.hosts.values(), key=lambda host: host.host_id)

    def reset(self, hosts: Sequence[LabHost]) -> None:
        """Make hosts adoptable again: former password and parameters, nothing written, unknown to the service."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(self._reset, hosts))
        with psycopg.connect(self.database_url) as connection:
            ids = [host.host_id for host in hosts]
            connection.execute("DELETE FROM obproxy_server WHERE host_id = ANY(%s)", (ids,))

    def _reset(self, host: LabHost) -> None:
        remove = self.lab.ssh_command(host, f"sudo rm -rf {shlex.join(WRITTEN)}")
        subprocess.run(remove, check=True)
        with admin(self.lab, host, SYS_PASSWORD) as connection:
            _alter(connection, self.before)


def check(lab: Lab, hosts: Sequence[LabHost]) -> None:
    """Check that passwords, parameters, record and note are those of a takeover; raise NotTakenOver."""
    for host in hosts:
        with admin(lab, host, SYS_PASSWORD) as connection:
            now = _parameters(connection)
        if wrong := {name: now[name] for name, wished in CLUSTER.parameters.items() if now[name] != wished}:
            raise NotTakenOver(f"{host.name}: {wrong}")
        if now["observer_sys_password"] != _STORED_PROXYRO:
            raise NotTakenOver(f"{host.name}: proxyro's password is not the cluster's")
        host.run(f"test -s {WRITTEN[0]}/obproxy.fact -a -s {WRITTEN[1]}/before-{host.sql_port}.json")


def check_taken_over(ground: Ground, hosts: Sequence[LabHost]) -> None:
    """Check that hosts are taken over; raise NotTakenOver."""
    check(ground.lab, hosts)


def check_unchanged(ground: Ground, hosts: Sequence[LabHost]) -> None:
    """Check that hosts are as before a takeover; raise NotTakenOver. Then give them the password that `reset` uses."""
    for host in hosts:
        with admin(ground.lab, host, ADOPTED_PASSWORD) as connection:
            now = _parameters(connection)
            if changed := {name: now[name] for name in CLUSTER.parameters if now[name] != ground.before[name]}:
                raise NotTakenOver(f"{host.name} was changed: {changed}")
            _alter(connection, {"obproxy_sys_password": SYS_PASSWORD})
        host.run(f"test ! -e {WRITTEN[0]} -a ! -e {WRITTEN[1]}")


@contextmanager
def prepared(directory: Path, hosts: int, settings: Mapping[str, str] | None = None) -> Iterator[Ground]:
    """Start `hosts` hosts and the service, with `settings`, below `directory`; at the end nothing of them is left."""
    with ExitStack() as stack:
        lab = Lab(directory)
        stack.callback(lab.close)
        specs = [HostSpec(f"odp-{number}", number, "other-password") for number in range(1, hosts + 1)]
        started = lab.start_many(specs)
        before = _into_comparable_state(lab, started)
        url = stack.enter_context(embedded.running(directory / "postgres"))
        service = stack.enter_context(
            running(directory, lab.inventory, database_url=url, **(settings or {}))  # type: ignore[arg-type]
        )
        secrets = directory / "secrets.yml"
        secrets.touch(mode=0o600)
        secrets.write_text(yaml.safe_dump({"obproxy_current_sys_password": ADOPTED_PASSWORD}))
        yield Ground(
            lab=lab,
            service=service,
            client=stack.enter_context(service.client()),
            database_url=url,
            secrets=secrets,
            before=before,
            first_pids={
                host.name: int(podman("inspect", "--format", "{{.State.Pid}}", host.container)) for host in started
            },
        )


def _into_comparable_state(lab: Lab, hosts: Sequence[LabHost]) -> dict[str, str]:
    """Bring fresh hosts where `reset` expects them after a takeover: the cluster's passwords. The values before."""
    before: dict[str, str] = {}
    for host in hosts:
        with admin(lab, host, ADOPTED_PASSWORD) as connection:
            now = _parameters(connection)
            before = {name: now[name] for name in CLUSTER.parameters} | {"observer_sys_password": _PROXYRO_BEFORE}
            _alter(connection, {"observer_sys_password": PROXYRO_PASSWORD, "obproxy_sys_password": SYS_PASSWORD})
    return before | {"obproxy_sys_password": ADOPTED_PASSWORD}


def _parameters(connection: Connection) -> dict[str, str]:
    return {str(row[0]): str(row[1]) for row in query(connection, "SHOW PROXYCONFIG")}


def _alter(connection: Connection, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        query(connection, f"ALTER PROXYCONFIG SET {name} = '{value}'")
