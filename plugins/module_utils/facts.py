"""The one fact `obproxy`: what the host and the OBProxy's own admin SQL said, put together (pure).

Shape: README.md of roles/prepare_obproxy_install lists the keys. Secrets never get in here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath as Path
from typing import Any

from .addresses import address_of, exporter, holder_of
from .masking import MASK, is_secret, stage_one
from .rollback_record import PROXYRO, is_built_in
from .supervisors import NONE, supervisor_of
from .versions import name_of_package, version_in, version_of_package

Facts = dict[str, Any]
READ_ONLY = frozenset({"app_name"})  # ALTER refuses it (docs/reference/obproxy.md trap 8)
UNKNOWN = "unknown"  # a supervisor that could not be read
_TOLD = 100  # characters of a command line that a message shows


def assemble(host: Facts, sql: Facts, wanted: Facts) -> Facts:
    """The fact, from the host program's answer (`probe.probe`), the SQL `reading` and the plugin's arguments."""
    port = wanted["sql_port"]
    processes = [found for found in host["processes"] if not found["defunct"]]
    proxies = [found for found in processes if is_proxy(found)]
    draining = draining_at(port, proxies)
    proxies = [found for found in proxies if found not in draining]
    proxy = at_port(host, port)
    supervisor, watchdogs = supervision(host["supervision"])
    # Each second a watchdog asks the port by nc: for a moment there is a copy of it, or what was one, as its child.
    copies = [found for found in processes if found["ppid"] in watchdogs and not is_proxy(found)]
    known = [proxy, *copies, *draining]
    others = [one for one in processes if one not in known and one["pid"] not in watchdogs and not is_own(one, proxy)]
    facts: Facts = {
        "sql_port": port,
        "sql_address": address_of(proxy, port, host),
        "asked": wanted["asked"],
        "host": host["host"],
        "running": proxy is not None,
        "process": proxy,
        "draining": draining,
        "proxies": [told(found) for found in proxies],
        "defunct": [f"pid {found['pid']}, parent {found['ppid']}" for found in host["processes"] if found["defunct"]],
        "port_holder": holder_of(port, host),
        "watchdogs": watchdogs,
        "supervisor": supervisor,
        "supervised": supervisor["kind"] not in (NONE, UNKNOWN),
        "others": [told(found) for found in others],
        "package": host["package"],
        "packages": host["packages"],
        "packages_error": host["packages_error"],
        "missing_commands": host["missing_commands"],
        "commands_checked": host["commands_checked"],
        "commands_error": host["commands_error"],
        "disks": host["disks"],
        "agent": {"home": wanted["agent_home"], "present": wanted["agent_control"] in host["executables"]},
        "local_fact": local_fact(host["files"], wanted["fact_file"]),
        "recorded": recorded(note_at(host["files"], wanted["record_file"]), whole=wanted["record"]),
        "done": note_at(host["files"], wanted["done_file"]) or {},
        "absent_directories": host["absent_directories"],
        "pending_restart": pending_restart(note_at(host["files"], wanted["pending_file"]), proxy),
        "leftovers": host["leftovers"],
        "unread": unread(host, proxies, wanted["fact_file"]),
        **sql,
    }
    facts["version"], facts["version_from"] = version(facts, host["binary_version"])
    facts["exporter"] = exporter(proxy, facts["parameters"], host)
    facts["drift"] = drift(facts, wanted)
    return facts


def at_port(host: Facts, port: int) -> Facts | None:
    """Return the OBProxy that holds a port; of an old one and its successor in a hot restart the successor."""
    proxies = [found for found in host["processes"] if is_proxy(found) and not found["defunct"]]
    draining = draining_at(port, proxies)
    return next((found for found in proxies if port in found["ports"] and found not in draining), None)


def supervision(found: Facts | None) -> tuple[Facts, list[int]]:
    """Return the supervisor as data, and the pids of the watchdogs."""
    if found is None:
        return {"kind": NONE, "told": "nothing", "unit": ""}, []
    if problem := found.get("problem"):
        return {"kind": UNKNOWN, "told": f"unknown, it could not be read: {problem}", "unit": ""}, []
    return asdict(supervisor_of(found)), [one["pid"] for one in found["watchdogs"]]


def unread(host: Facts, proxies: list[Facts], fact_file: str) -> list[str]:
    """Return sentences about what is there and could not be read, so that nobody takes it for absent."""
    found = [f"/proc of pid {one['pid']} ({one['comm']}): {one['unread']}" for one in proxies if one["unread"]]
    holders = [
        f"the sockets of port {port}'s process: {one['unread']}"
        for port, one in host["holders"].items()
        if one["unread"] and not one["pid"] and not found
    ]
    files = [f"{one['path']}: {why}" for one in host["files"] if one["path"] != fact_file and (why := why_unread(one))]
    disks = [one["told"] for one in host["disks"] if one["error"]]
    return found + holders + files + disks


def why_unread(file: Facts) -> str | None:
    """Return why one of the takeover's own files tells nothing, although it is there."""
    if file["error"]:
        return str(file["error"])
    is_note = file["text"] is None or json_object(file["text"]) is not None
    return None if is_note else "it is no JSON object"


def draining_at(port: int, proxies: list[Facts]) -> list[Facts]:
    """Return the OBProxies that hand over to a successor: the child that a hot restart has started holds the same
    listening socket, which the old process keeps until its clients are gone (docs/reference/obproxy.md 2.6)."""
    holders = [found for found in proxies if port in found["ports"]]
    parents = {(found["ppid"], found["home"]) for found in holders}
    return [found for found in holders if (found["pid"], found["home"]) in parents]


def is_proxy(process: Facts) -> bool:
    """An OBProxy by its comm or executable, never by its arguments (docs/reference/obproxy.md 7.4)."""
    return process["comm"] == "obproxy" or Path(process["exe"]).name == "obproxy"


def told(process: Facts) -> str:
    """One process in words, for messages."""
    ports = f" at ports {', '.join(map(str, process['ports']))}" if process["ports"] else ""
    if process["ports_inside"]:
        ports += f" at ports {', '.join(map(str, process['ports_inside']))} of a network namespace of its own"
    ports += f" in a container ({process['engine']})" if process["engine"] else ""
    return (
        f"{process['keyword']} with pid {process['pid']} of {process['owner']} in {process['home']}{ports} "
        f"({process['cmdline'][:_TOLD]})"
    )


def is_own(process: Facts, proxy: Facts | None) -> bool:
    """Return whether a process is the OBProxy's own script: one that lies in its home and works in it, such as its
    control script at a start or a stop."""
    if proxy is None or is_proxy(process) or not process["script"] or proxy["engine"]:
        return False
    return proxy["home"] in (process["home"], str(Path(process["script"]).parent.parent))


def version(facts: Facts, binary_version: str) -> tuple[str | None, str | None]:
    """VERSION-BUILD and where it was read: the OBProxy's own word first, the directory's name last."""
    process = facts["process"]
    sources: list[tuple[str, str | None]] = [
        ("SHOW PROXYINFO BINARY", facts["binary"] and version_in(facts["binary"])),
        ("its package", facts["package"] and version_of_package(facts["package"])),
        ("obproxy -V", version_of_binary(binary_version)),
        ("its path", process and version_in_path(process["exe"])),
        ("the installed package", version_of_package(facts["packages"][0]) if len(facts["packages"]) == 1 else None),
    ]
    return next(((found, source) for source, found in sources if found), (None, None))


def version_of_binary(text: str) -> str | None:
    """VERSION-BUILD of what `obproxy -V` prints: "obproxy (OceanBase 4.3.1.0 11.el7)".

    See docs/reference/obproxy.md 2.1.
    """
    found = re.search(r"\(OceanBase (\d+(?:\.\d+)+) (\d+)", text)
    return f"{found[1]}-{found[2]}" if found else None


def version_in_path(exe: str) -> str | None:
    """The version that a directory such as /opt/taobao/install/obproxy-1.9.1.1 is named after; it has no build."""
    found = re.search(r"/obproxy-(\d+(?:\.\d+)+)/", exe)
    return found[1] if found else None


def local_fact(files: list[Facts], path: str) -> Facts | None:
    """The manager's note on the host; a file that is no JSON object, or cannot be read, is some unknown manager's."""
    found = next((found for found in files if found["path"] == path), {"text": None, "error": None})
    text = found["text"]
    if found["error"]:
        return {"managed_by": f"unknown (the file cannot be read: {found['error']})"}
    if text is None:
        return None
    note = json_object(text)
    return note if note is not None else {"managed_by": "unknown (the file is not a JSON object)"}


def note_at(files: list[Facts], path: str) -> Facts | None:
    """The JSON object in one of the takeover's own files, None when there is none."""
    text = next((found["text"] for found in files if found["path"] == path), None)
    return None if text is None else json_object(text)


def recorded(note: Facts | None, *, whole: bool) -> Facts | None:
    """The record of the state before the takeover; three hundred parameters of it only for a rollback."""
    return note if whole or note is None else {key: note[key] for key in note if key != "parameters"}


def json_object(text: str) -> Facts | None:
    """The JSON object that a text is, None when it is something else."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def pending_restart(note: Facts | None, process: Facts | None) -> list[str]:
    """Parameters set by an earlier takeover that wait for a restart which has not happened since.

    SHOW PROXYCONFIG shows such values as if they acted (docs/reference/obproxy.md 4.6), so a file keeps them in mind
    together with the start time of the process that does not know them yet.
    """
    if not note or not process or note.get("started") != process["started"]:
        return []
    return [str(name) for name in note.get("parameters", [])]


def drift(facts: Facts, wanted: Facts) -> list[str]:
    """In what the adopted OBProxy differs from the cluster's package, as sentences; adopting in place keeps it so."""
    process, package = facts["process"], facts["package"]
    if process is None:
        return []
    found = []
    if package is None and not facts["packages_error"]:
        found.append(f"the running binary {process['exe']} belongs to no package")
    elif package and wanted["package_name"] and name_of_package(package) != wanted["package_name"]:
        found.append(f"the running binary belongs to {package}, the cluster wants {wanted['package_name']}")
    if wanted["package_version"] and facts["version"] and facts["version"] != wanted["package_version"]:
        found.append(f"version {facts['version']} runs, the cluster wants {wanted['package_version']}")
    if process["exe_deleted"]:
        found.append(f"the running binary {process['exe']} has been replaced or removed since it was started")
    if facts["supervisor"]["kind"] == NONE:
        found.append("no watchdog (obproxyd.sh) supervises it")
    app_name = facts["parameters"].get("app_name")
    if app_name is not None and wanted["app_name"] and app_name != wanted["app_name"]:
        found.append(f"its app_name is '{app_name}', the cluster's is '{wanted['app_name']}'")
    return found


def reading(
    config: Sequence[Mapping[str, Any]],
    binary: str,
    clusters: list[str],
    login: str,
    wished: Mapping[str, str | None],
    given: str | None = None,
) -> Facts:
    """The SQL half of the fact, from SHOW PROXYCONFIG's rows read by column name (docs/reference/obproxy.md trap 6).

    `wished` maps the names of password parameters to the wished plain text, None where the cluster wishes nothing.
    `given` is what proxyro's password is said to be now.
    """
    raw = {str(row["name"]): str(row["value"] or "") for row in config}
    url = raw.get("obproxy_config_server_url", "")
    return {
        "login": login,
        "login_error": None,
        "binary": binary,
        "parameters": {
            name: (MASK if value else "") if is_secret(name) else value for name, value in sorted(raw.items())
        },
        "restart_parameters": sorted(str(row["name"]) for row in config if row["need_reboot"] == "true"),
        "passwords_as_wished": {
            name: raw.get(name) == stage_one(password) for name, password in wished.items() if password is not None
        },
        "built_in_passwords": [name for name in wished if is_built_in(name, raw.get(name))],
        "proxyro_as_given": given is not None and raw.get(PROXYRO) == stage_one(given),
        "clusters": sorted(set(clusters)),
        "start_mode": "config_url" if url else "rs_list",
        "config_server_url": url,
        "rs_list": raw.get("rootservice_list", ""),
    }


def definitions(config: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What SHOW PROXYCONFIG says of each parameter beside its value: [description, needs a restart, range, read-only].

    Old versions have no column `range`; what is `virtual` cannot be set.
    """
    return {
        str(row["name"]): [
            str(row.get("info") or ""),
            row["need_reboot"] == "true",
            str(row.get("range") or ""),
            row.get("visible_level") == "virtual" or row["name"] in READ_ONLY,
        ]
        for row in config
    }


def no_reading(login: str, error: str | None) -> Facts:
    """The SQL half when nothing could be read; `login` is `denied`, `unreachable` or `untried`."""
    empty = reading([], "", [], login, {})
    return empty | {"login_error": error, "start_mode": None}


def server_row(facts: Facts) -> Facts:
    """What a run tells about the OBProxy server through `obproxy_server` in a result; absent keys are unknown."""
    process = facts["process"]
    if process is None:
        return {}
    row = {
        "pid": process["pid"],
        "version": facts["version"],
        "architecture": facts["host"]["architecture"],
        "home": process["home"],
        "owner": process["owner"],
        "package": facts["package"],
        "start_mode": facts["start_mode"],
        "supervised": facts["supervised"],
        "pending_restart": facts["pending_restart"],
        "drift": facts["drift"],
    }
    return {key: value for key, value in row.items() if value is not None or key == "package"}
