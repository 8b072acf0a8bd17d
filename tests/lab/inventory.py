"""The Ansible inventory of a lab: its hosts, and the two OBProxy clusters that they can be taken over into."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

SYS_PASSWORD = "Proxysys#1"
PROXYRO_PASSWORD = "Proxyro#1"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An OBProxy cluster; work_thread_num is what the hosts are started with, the other parameters are not."""

    id: int
    name: str
    package_version: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def config_server_url(self) -> str:
        query = f"Action=GetObProxyConfig&User_ID=alibaba&UID=admin&ObproxyClusterName={self.name}"
        return f"http://127.0.0.1:8080/services?{query}"

    @property
    def variables(self) -> dict[str, object]:
        return {
            "obproxy_cluster_id": self.id,
            "obproxy_cluster_name": self.name,
            "obproxy_package_name": "obproxy",
            "obproxy_package_version": self.package_version,
            "obproxy_start_mode": "config_url",
            "obproxy_config_server_url": self.config_server_url,
            "obproxy_parameters": dict(self.parameters),
            "obproxy_sys_password": SYS_PASSWORD,
            "obproxy_proxyro_password": PROXYRO_PASSWORD,
        }


_PARAMETERS = {
    "proxy_mem_limited": "3G",
    "log_dir_size_threshold": "20G",
    "slow_query_time_threshold": "300ms",
    "enable_cluster_checkout": "False",
    "work_thread_num": "8",
}
CLUSTERS = (
    Cluster(id=1, name="test", package_version="4.3.1.0-1", parameters=_PARAMETERS),
    Cluster(id=2, name="legacy", package_version="1.9.1.1-1919579", parameters=_PARAMETERS),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A host as the inventory needs it."""

    name: str
    address: str
    host_id: int
    cluster: str | None
    host_key: str  # "ssh-ed25519 AAAA..."


def write(directory: Path, entries: Iterable[Entry], private_key: Path, known_hosts: Path) -> None:
    """Write hosts.yml, and known_hosts elsewhere: Ansible takes every file of the directory for an inventory.

    Each is written at one stroke, so that a reader never sees half a file.
    """
    entries = sorted(entries, key=lambda entry: entry.host_id)
    directory.mkdir(parents=True, exist_ok=True)
    _replace(known_hosts, "".join(f"{entry.address} {entry.host_key}\n" for entry in entries))
    common = {
        "ansible_user": "ops",
        "ansible_become": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(private_key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes",
    }
    hosts = {entry.name: {"ansible_host": entry.address, "ocp_host_id": entry.host_id} for entry in entries}
    groups = {
        cluster.name: {
            "vars": cluster.variables,
            "hosts": {entry.name: {} for entry in entries if entry.cluster == cluster.name},
        }
        for cluster in CLUSTERS
    }
    tree = {"all": {"vars": common, "hosts": hosts, "children": groups}}
    _replace(directory / "hosts.yml", yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
