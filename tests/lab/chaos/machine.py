"""A further machine on a lab's network: a network namespace with an address of its own, to run a worker in."""

import ipaddress
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from .. import Lab
from ..podman import as_root, podman

_LAST_ADDRESS = -6  # from the end of the subnet, where no lab host is


class Machine:
    """`number` 0, 1, … of one lab, which must have a host: without one its network is not there."""

    def __init__(self, lab: Lab, number: int) -> None:
        found = json.loads(podman("network", "inspect", lab.network))[0]
        self._bridge = found["network_interface"]
        self.gateway = found["subnets"][0]["gateway"]
        self.subnet = found["subnets"][0]["subnet"]
        self._network = ipaddress.ip_network(self.subnet)
        self.address = str(self._network[_LAST_ADDRESS - number])
        self._name = f"lab-{lab.key[:6]}-{number}"
        self._link = f"l{lab.key[:6]}-{number}"

    @property
    def prefix(self) -> list[str]:
        """Before a command that is to run there."""
        return as_root("ip", "netns", "exec", self._name)

    def __enter__(self) -> Self:
        _ip("netns", "add", self._name)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        # Left to itself a bridge changes its address with the hosts that come and go.
        _ip("link", "set", self._bridge, "address", Path(f"/sys/class/net/{self._bridge}/address").read_text().strip())
        _ip("link", "set", self._link, "master", self._bridge)
        self.plug_in()
        _ip("-n", self._name, "addr", "add", f"{self.address}/{self._network.prefixlen}", "dev", "eth0")
        for interface in ("lo", "eth0"):
            _ip("-n", self._name, "link", "set", interface, "up")
        self._add_route()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ip("link", "delete", self._link)
        _ip("netns", "delete", self._name)

    def pull_out(self) -> None:
        """Cut it off without a notice: it neither receives nor sends packets."""
        _ip("link", "set", self._link, "down")

    def plug_in(self) -> None:
        _ip("link", "set", self._link, "up")

    def forget_neighbours(self) -> None:
        """Forget the address of a removed host, because a new host may get it."""
        _ip("-n", self._name, "neigh", "flush", "all")

    def _add_route(self) -> None:
        _ip("-n", self._name, "route", "add", "default", "via", self.gateway)


def _ip(*arguments: str) -> None:
    subprocess.run(as_root("ip", *arguments), check=True)
