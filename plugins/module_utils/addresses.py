"""Finds the address at which an OBProxy is reached on its host, and the process that holds a port (pure)."""

import re
from collections.abc import Sequence
from typing import Any

from .programs.listeners import DEFAULT_EXPORTER_PORT

Facts = dict[str, Any]
DEFAULT_SQL_PORT = 2883
MAX_PORT = 65535
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, never bound to
_MAPPED = "::ffff:"


def reachable_address(own: Sequence[str], foreign_addresses: Sequence[str]) -> str | None:
    """Return an address at which only this process is reached, loopback first; None when there is none.

    `own` are the addresses at which the process listens on a port, `foreign_addresses` those of other processes on it.
    A socket bound to one address takes precedence over a socket bound to all addresses.
    """
    others = {_without_mapping(address) for address in foreign_addresses}
    certain = {
        target
        for address in map(_without_mapping, own)
        if address not in others and (target := WILDCARDS.get(address, address)) not in others
    }
    return min(certain, key=lambda target: (not is_loopback(target), ":" in target, target), default=None)


def is_loopback(address: str) -> bool:
    """Return whether an address is a loopback address."""
    return address == "::1" or address.startswith("127.")


def format_address(address: str | None, port: int) -> str:
    """Return an address and port as text, with brackets around IPv6."""
    return f"[{address}]:{port}" if address and ":" in address else f"{address or '?'}:{port}"


def _without_mapping(address: str) -> str:
    return address.removeprefix(_MAPPED) if address.startswith(_MAPPED) and "." in address else address


def address_of(process: Facts | None, port: int, host: Facts) -> str | None:
    """Return the address at which a process is reached at a port."""
    if process is None or port not in process["ports"]:
        return None
    return reachable_address(process["addresses"][str(port)], host["foreign_addresses"].get(str(port), []))


def sql_port_of(process: Facts) -> int:
    """Return the SQL port of an OBProxy: of its command line, else the default, else its lowest port.

    The default also stands for an OBProxy whose ports are unknown.
    """
    ports = process["ports"] or process["ports_inside"]
    port = process["named"]["sql_port"] or 0
    if port in ports or (not ports and 0 < port <= MAX_PORT):
        return port
    others = [port for port in ports if port != process["named"]["exporter_port"]]
    return DEFAULT_SQL_PORT if DEFAULT_SQL_PORT in ports else min(others, default=DEFAULT_SQL_PORT)


def login_obstacle(proxy: Facts | None, port: int, host: Facts, user: str | None = None) -> str | None:
    """Return why a login must not be tried, None when it may be: passwords go only to this OBProxy.

    With `user`, only to an OBProxy of this user or of root: the process of another one could pass the login on to a
    real OBProxy.
    """
    if proxy is None:
        return f"no OBProxy listens on port {port}"
    if user is not None and proxy["owner"] not in (user, "root"):
        return f"pid {proxy['pid']} belongs to {proxy['owner']}, not to {user} (obproxy_user)"
    if proxy["engine"]:
        return f"pid {proxy['pid']} runs in a container ({proxy['engine']})"
    if address_of(proxy, port, host) is None:
        own, other = (
            ", ".join(found) for found in (proxy["addresses"][str(port)], host["foreign_addresses"][str(port)])
        )
        return f"pid {proxy['pid']} listens at {own}, and another process takes the connections: it listens at {other}"
    return None


def port_holder(port: int, host: Facts) -> Facts | None:
    """Return the process that listens on a port, with a `description`; only its user when it was not searched."""
    user = host["listeners"].get(str(port))
    unknown: Facts = {"pid": None, "comm": "", "exe": "", "owner": user, "unreadable": ""}
    holder: Facts | None = host["holders"].get(str(port), unknown if user is not None else None)
    if holder is None:
        return None
    pid = f"pid {holder['pid']}" if holder["pid"] else "pid not found"
    why = (
        f", whose sockets could not be read: {holder['unreadable']}"
        if holder["unreadable"] and not holder["pid"]
        else ""
    )
    return dict(holder) | {"description": f"{holder['comm'] or 'a process'} ({pid}, owner {holder['owner']}{why})"}


def named_ports(parameters: Facts) -> list[int]:
    """Return the exporter and RPC ports of an OBProxy with these parameters (docs/reference/obproxy.md 3).

    `enable_prometheus` stops only the collection of metrics; the port stays open.
    """
    has_service = str(parameters.get("enable_obproxy_rpc_service")).lower() == "true"
    names = ["prometheus_listen_port", *(["rpc_listen_port"] if has_service else [])]
    return _ports_in(parameters, *names)


def _ports_in(parameters: Facts, *names: str) -> list[int]:
    """Return the valid ports among the values of parameters; any process with a login can answer with other values."""
    values = [str(parameters.get(name)) for name in names]
    return [int(value) for value in values if re.fullmatch("[0-9]{1,5}", value) and 0 < int(value) <= MAX_PORT]


def exporter(process: Facts | None, parameters: Facts, host: Facts) -> Facts:
    """Return the exporter's port and address, and the holder of the port: `proxy`, `other` or `none`."""
    port = next(iter(_ports_in(parameters, "prometheus_listen_port")), DEFAULT_EXPORTER_PORT)
    if process and port in process["ports"]:
        return {"port": port, "held_by": "proxy", "holder": None, "address": address_of(process, port, host)}
    holder = port_holder(port, host)
    return {"port": port, "held_by": "other" if holder else "none", "holder": holder, "address": None}
