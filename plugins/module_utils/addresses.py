"""At which address of its host an OBProxy is reached, and who holds a port instead (pure)."""

from collections.abc import Sequence
from typing import Any

Facts = dict[str, Any]
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound to
_MAPPED = "::ffff:"


def reach(own: Sequence[str], strangers: Sequence[str]) -> str | None:
    """Return the address at which a process is reached for certain, loopback first; None when there is none.

    `own` are the addresses that it listens at on a port, `strangers` those of other processes on the same port: a
    socket that is bound to one address takes the connections to it from one that is bound to all.
    """
    others = {_plain(address) for address in strangers}
    certain = {
        target
        for address in map(_plain, own)
        if address not in others and (target := EVERYWHERE.get(address, address)) not in others
    }
    return min(certain, key=lambda target: (not is_loopback(target), ":" in target, target), default=None)


def is_loopback(address: str) -> bool:
    """Return whether an address leads to the host itself wherever it is used."""
    return address == "::1" or address.startswith("127.")


def told(address: str | None, port: int) -> str:
    """Return an address with its port as people write it."""
    return f"[{address}]:{port}" if address and ":" in address else f"{address or '?'}:{port}"


def _plain(address: str) -> str:
    return address.removeprefix(_MAPPED) if address.startswith(_MAPPED) and "." in address else address


def address_of(process: Facts | None, port: int, host: Facts) -> str | None:
    """Return the address at which a process is reached at a port."""
    if process is None or port not in process["ports"]:
        return None
    return reach(process["addresses"][str(port)], host["strangers"].get(str(port), []))


def why_untried(proxy: Facts | None, port: int, host: Facts) -> str | None:
    """Return why no login is tried: nothing but this OBProxy may be spoken to. None when it may."""
    if proxy is None:
        return f"no OBProxy listens on port {port}"
    if proxy["engine"]:
        return f"pid {proxy['pid']} runs in a container ({proxy['engine']})"
    if address_of(proxy, port, host) is None:
        own, other = (", ".join(found) for found in (proxy["addresses"][str(port)], host["strangers"][str(port)]))
        return f"pid {proxy['pid']} listens at {own}, and another process takes the connections: it listens at {other}"
    return None


def holder_of(port: int, host: Facts) -> Facts | None:
    """Return who listens on a port, with `told` in words; of a port that was not followed, only the user."""
    user = host["listeners"].get(str(port))
    unknown: Facts = {"pid": None, "comm": "", "exe": "", "owner": user, "unread": ""}
    holder: Facts | None = host["holders"].get(str(port), unknown if user is not None else None)
    if holder is None:
        return None
    pid = f"pid {holder['pid']}" if holder["pid"] else "pid not found"
    why = f", whose sockets could not be read: {holder['unread']}" if holder["unread"] and not holder["pid"] else ""
    return dict(holder) | {"told": f"{holder['comm'] or 'a process'} ({pid}, owner {holder['owner']}{why})"}


def named_ports(parameters: Facts) -> list[int]:
    """Return the ports beside the SQL port at which an OBProxy with these parameters listens: exporter and RPC
    (docs/reference/obproxy.md 3). `enable_prometheus` stops only the collection."""
    has_service = str(parameters.get("enable_obproxy_rpc_service", "")).lower() == "true"
    names = ["prometheus_listen_port", *(["rpc_listen_port"] if has_service else [])]
    return [int(parameters[name]) for name in names if str(parameters.get(name, "")).isdecimal()]


def exporter(process: Facts | None, parameters: Facts, host: Facts) -> Facts:
    """Return where the metrics are, and who holds that port: `proxy`, `other` or `nobody`."""
    port = int(parameters.get("prometheus_listen_port") or 2884)
    if process and port in process["ports"]:
        return {"port": port, "held_by": "proxy", "holder": None, "address": address_of(process, port, host)}
    holder = holder_of(port, host)
    return {"port": port, "held_by": "other" if holder else "nobody", "holder": holder, "address": None}
