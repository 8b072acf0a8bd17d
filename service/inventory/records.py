"""Records of the inventory's hosts and OBProxy clusters, with templated public variables and no secrets."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from service.model.errors import InventoryUnreadable
from service.model.fleet import DEFAULT_SQL_PORT, MAX_PORT
from service.model.tasks import ALLOW_RESTART

Variables = Mapping[str, Any]

PUBLIC_VARIABLES = frozenset(
    (
        *("ocp_host_id", "ocp_idc_name", "ansible_host", "ansible_ssh_host", "ansible_port", "ansible_ssh_port"),
        *("obproxy_cluster_id", "obproxy_cluster_name", "obproxy_cluster_address", "obproxy_cluster_port"),
        *("obproxy_package_name", "obproxy_package_version", "obproxy_start_mode", "obproxy_config_server_url"),
        *("obproxy_sql_port", "obproxy_commands_to_check", "obproxy_process_keywords", ALLOW_RESTART),
    )
)
"""Variables that the service uses and may show."""

MAX_ID = 2**63 - 1  # of a column `bigint`
_TRUE = {"y", "yes", "on", "1", "true", "t", "1.0"}  # BOOLEANS_TRUE of ansible.module_utils.parsing.convert_bool
_PORT = re.compile("[0-9]{1,5}")


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host available for takeover. `variables` are its `PUBLIC_VARIABLES`, templated by Ansible."""

    id: int
    name: str
    variables: Variables = field(repr=False)

    @property
    def address(self) -> str:
        """The address for ssh. The legacy variable comes first, as in Ansible's ssh connection plugin."""
        return str(self.variables.get("ansible_ssh_host", self.variables.get("ansible_host", self.name)))

    @property
    def ssh_port(self) -> object:
        """The ssh port in the inventory; None = not set."""
        return self.variables.get("ansible_ssh_port", self.variables.get("ansible_port"))

    @property
    def idc_name(self) -> str | None:
        """The name of the data centre (`ocp_idc_name`); None = not set."""
        name = self.variables.get("ocp_idc_name")
        return None if name is None else str(name)

    @property
    def sql_port(self) -> int:
        """The SQL port of its OBProxy: `obproxy_sql_port`; the default if that is missing or no port."""
        desired = str(self.variables.get("obproxy_sql_port", ""))  # YAML may have it in quotes
        return int(desired) if _PORT.fullmatch(desired) and 0 < int(desired) <= MAX_PORT else DEFAULT_SQL_PORT

    @property
    def allows_restart(self) -> bool:
        """A takeover of this host may restart an OBProxy."""
        return _is_true(self.variables.get(ALLOW_RESTART))

    @property
    def forbids_restart(self) -> bool:
        """The inventory has `obproxy_allow_restart: false` for this host."""
        return ALLOW_RESTART in self.variables and not self.allows_restart

    def is_in(self, cluster: "Cluster") -> bool:
        """Return whether the inventory has this host in `cluster`."""
        return str(self.variables.get("obproxy_cluster_id")) == str(cluster.id)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An OBProxy cluster. `variables` are the `PUBLIC_VARIABLES` of a host that is only in its group."""

    id: int
    name: str
    group: str
    variables: Variables = field(repr=False)
    hosts_allow_restart: bool = False  # at least one host permits a restart itself

    @property
    def allows_restart(self) -> bool:
        """Takeovers into this OBProxy cluster may restart an OBProxy; booleans as Ansible parses them."""
        return self.hosts_allow_restart or _is_true(self.variables.get(ALLOW_RESTART))


@dataclass(frozen=True, kw_only=True)
class View:
    """Hosts and OBProxy clusters by OCP id, and Ansible's warnings."""

    hosts: Mapping[int, Host]
    clusters: Mapping[int, Cluster]
    warnings: tuple[str, ...] = ()


def view(hosts: Iterable[Host], clusters: Iterable[Cluster], warnings: Iterable[str] = ()) -> View:
    """Return the view of these hosts and clusters; raises InventoryUnreadable when two have the same id."""
    hosts = list(hosts)
    complete = [replace(cluster, hosts_allow_restart=_hosts_allow_restart(hosts, cluster)) for cluster in clusters]
    return View(
        hosts=_by_id(hosts, "ocp_host_id"), clusters=_by_id(complete, "obproxy_cluster_id"), warnings=tuple(warnings)
    )


def parse_id(value: object, description: str) -> int:
    """Return `value` as an id; raises InventoryUnreadable unless it is a positive integer of 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_ID:
        reason = f"{description} must be a positive integer of at most {MAX_ID}, got {value!r}"
        raise InventoryUnreadable(reason=reason)
    return int(value)


def _hosts_allow_restart(hosts: Iterable[Host], cluster: Cluster) -> bool:
    return any(host.allows_restart and host.is_in(cluster) for host in hosts)


def _is_true(value: object) -> bool:
    return str(value).lower() in _TRUE


def _by_id[Record: (Host, Cluster)](records: Iterable[Record], variable: str) -> dict[int, Record]:
    by_id: dict[int, Record] = {}
    for record in records:
        if record.id in by_id:
            reason = f"{by_id[record.id].name} and {record.name} have the same {variable}: {record.id}"
            raise InventoryUnreadable(reason=reason)
        by_id[record.id] = record
    return by_id
