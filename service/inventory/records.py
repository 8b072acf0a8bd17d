"""Hosts and OBProxy clusters as the service knows them: what of the inventory may be shown, resolved, no secrets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from service.model.errors import InventoryUnreadable
from service.model.tasks import ALLOW_RESTART

Variables = Mapping[str, Any]

SHOWN = frozenset(
    (
        *("ocp_host_id", "ocp_idc_name", "ansible_host", "ansible_ssh_host", "ansible_port", "ansible_ssh_port"),
        *("obproxy_cluster_id", "obproxy_cluster_name", "obproxy_cluster_address", "obproxy_cluster_port"),
        *("obproxy_package_name", "obproxy_package_version", "obproxy_start_mode", "obproxy_config_server_url"),
        *("obproxy_sql_port", "obproxy_commands_to_check", "obproxy_process_keywords", ALLOW_RESTART),
    )
)
"""The variables that the service itself uses."""

_TRUE = {"y", "yes", "on", "1", "true", "t", "1.0"}  # as ansible.module_utils.parsing.convert_bool


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host that may be taken over. `variables` are those of `SHOWN` that it has, as Ansible resolves them."""

    id: int
    name: str
    variables: Variables = field(repr=False)

    @property
    def address(self) -> str:
        """Return where it is reached; ssh itself prefers the old name of the variable."""
        return str(self.variables.get("ansible_ssh_host", self.variables.get("ansible_host", self.name)))

    @property
    def ssh_port(self) -> object:
        """Return the port that the inventory gives for ssh; None = it gives none."""
        return self.variables.get("ansible_ssh_port", self.variables.get("ansible_port"))

    @property
    def idc_name(self) -> str | None:
        """The data centre it stands in, if the inventory says so."""
        name = self.variables.get("ocp_idc_name")
        return None if name is None else str(name)

    @property
    def allows_restart(self) -> bool:
        """Whether a takeover of it may restart an OBProxy."""
        return _is_true(self.variables.get(ALLOW_RESTART))

    def is_in(self, cluster: "Cluster") -> bool:
        """Whether the inventory itself has it in this OBProxy cluster."""
        return str(self.variables.get("obproxy_cluster_id")) == str(cluster.id)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An OBProxy cluster. `variables` are those of `SHOWN` that a host in its group and in no other one has."""

    id: int
    name: str
    group: str
    variables: Variables = field(repr=False)
    hosts_allow_restart: bool = False  # one of its hosts permits what the group may forbid

    @property
    def allows_restart(self) -> bool:
        """Whether takeovers into it may restart an OBProxy; whatever Ansible takes for true."""
        return self.hosts_allow_restart or _is_true(self.variables.get(ALLOW_RESTART))


@dataclass(frozen=True, kw_only=True)
class View:
    """Everything by its OCP id, and what Ansible warned of."""

    hosts: Mapping[int, Host]
    clusters: Mapping[int, Cluster]
    warnings: tuple[str, ...] = ()


def view(hosts: Iterable[Host], clusters: Iterable[Cluster], warnings: Iterable[str] = ()) -> View:
    """Put hosts and clusters together; raises InventoryUnreadable where two have one id."""
    hosts = list(hosts)
    named = [replace(cluster, hosts_allow_restart=_allow(hosts, cluster)) for cluster in clusters]
    return View(
        hosts=_by_id(hosts, "ocp_host_id"), clusters=_by_id(named, "obproxy_cluster_id"), warnings=tuple(warnings)
    )


def positive(value: object, what: str) -> int:
    """Return an id; raises InventoryUnreadable when it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InventoryUnreadable(reason=f"{what} must be a positive integer, found {value!r}")
    return int(value)


def _allow(hosts: Iterable[Host], cluster: Cluster) -> bool:
    return any(host.allows_restart and host.is_in(cluster) for host in hosts)


def _is_true(value: object) -> bool:
    return str(value).lower() in _TRUE


def _by_id[Thing: (Host, Cluster)](things: Iterable[Thing], variable: str) -> dict[int, Thing]:
    found: dict[int, Thing] = {}
    for thing in things:
        if thing.id in found:
            reason = f"{found[thing.id].name} and {thing.name} have the same {variable}: {thing.id}"
            raise InventoryUnreadable(reason=reason)
        found[thing.id] = thing
    return found
