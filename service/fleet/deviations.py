"""Groups the parameters of OBProxy servers that deviate from their cluster's values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from service.model.fleet import ObproxyServer


@dataclass(frozen=True, kw_only=True)
class DeviatingServer:
    """An OBProxy server with another value."""

    server: ObproxyServer
    found: str


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A parameter or password that has another value than `expected` on at least one OBProxy server."""

    name: str
    expected: str
    servers: list[DeviatingServer] = field(default_factory=list)


def group(servers: Iterable[ObproxyServer]) -> Sequence[Deviation]:
    """Return the deviations by name; a parameter with several expected values is there several times."""
    found: dict[tuple[str, str], Deviation] = {}
    for server in servers:
        for one in server.parameter_drift or []:
            deviation = found.setdefault((one.name, one.expected), Deviation(name=one.name, expected=one.expected))
            deviation.servers.append(DeviatingServer(server=server, found=one.found))
    return [found[key] for key in sorted(found)]
