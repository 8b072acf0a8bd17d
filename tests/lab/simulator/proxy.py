"""The state of one running OBProxy that its sessions share."""

from dataclasses import dataclass, field
from pathlib import Path

from .metrics import Metrics
from .parameters import Settings
from .release import Release
from .simulation import Simulation
from .store import Store


@dataclass(frozen=True, kw_only=True)
class Client:
    """One connection as SHOW PROXYSESSION knows it."""

    id: int
    peer: tuple[str, int]
    cluster: str
    tenant: str
    user: str


@dataclass(kw_only=True)
class Proxy:
    """settings are what SHOW PROXYCONFIG shows; effective is what they were at the start, which sockets follow."""

    release: Release
    home: Path
    settings: Settings
    store: Store
    simulation: Simulation
    arguments: list[str]
    pid: int
    effective: dict[str, str] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=Metrics)
    clients: dict[int, Client] = field(default_factory=dict)
    last_connection_id: int = 0

    def next_connection_id(self) -> int:
        self.last_connection_id += 1
        return self.last_connection_id

    @property
    def uses_config_server(self) -> bool:
        return bool(self.effective["obproxy_config_server_url"])

    @property
    def cluster(self) -> str:
        """The OB cluster behind this proxy: of the rs list, or the one that the config server names."""
        if self.uses_config_server:
            return self.simulation.text("cluster", "obcluster")
        return self.effective["rootservice_cluster_name"]

    @property
    def cluster_addresses(self) -> list[str]:
        if self.uses_config_server:
            return ["127.0.0.1:2881"]
        return [address for address in self.effective["rootservice_list"].split(";") if address]
