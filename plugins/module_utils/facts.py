"""Builds the fact `obproxy` from the host program's result and the admin SQL (pure).

The README of roles/prepare_obproxy_install lists the keys. The fact contains no secrets.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath as Path
from typing import Any

from .addresses import address_of, exporter, port_holder, sql_port_of
from .masking import MASK, is_secret, stage_one
from .parameter_values import differences
from .rollback_record import PROXYRO, is_built_in
from .supervisors import NONE, supervisor_of
from .versions import has_settable_proxyro, name_of_package, version_in, version_of_package

Facts = dict[str, Any]
READ_ONLY = frozenset({"app_name"})  # ALTER rejects it (docs/reference/obproxy.md trap 8)
UNKNOWN = "unknown"  # the supervisor could not be read
_MAX_PORTS = 50  # OBProxies that a discovery of the host checks; any user can start processes of this name


def build_facts(host: Facts, sql: Facts, wanted: Facts) -> Facts:
    """Return the fact, from the result of `probe.probe`, the SQL facts and the plugin's arguments."""
    port = wanted["sql_port"]
    processes = [found for found in host["processes"] if not found["defunct"]]
    proxies = [found for found in processes if is_proxy(found)]
    draining = draining_proxies(port, proxies)
    proxies = [found for found in proxies if found not in draining]
    proxy = proxy_at_port(host, port)
    supervisor, watchdogs = supervision(host["supervision"])
    # Each second a watchdog probes the port with nc. For a moment it has a forked copy of itself as its child.
    copies = [found for found in processes if found["ppid"] in watchdogs and not is_proxy(found)]
    known = [proxy, *copies, *draining]
    foreign_processes = [
        one for one in processes if one not in known and one["pid"] not in watchdogs and not is_own_script(one, proxy)
    ]
    facts: Facts = {
        "sql_port": port,
        "sql_address": address_of(proxy, port, host),
        "discovery_arguments": wanted["discovery_arguments"],
        "host": host["host"],
        "running": proxy is not None,
        "process": proxy,
        "draining": draining,
        "proxies": [describe_process(found) for found in proxies],
        "sql_ports": sql_ports(port, proxies),
        "defunct": [f"pid {found['pid']}, parent {found['ppid']}" for found in host["processes"] if found["defunct"]],
        "port_holder": port_holder(port, host),
        "watchdogs": watchdogs,
        "supervisor": supervisor,
        "supervised": supervisor["kind"] not in (NONE, UNKNOWN),
        "foreign_processes": [describe_process(found) for found in foreign_processes],
        "package": host["package"],
        "packages": host["packages"],
        "packages_error": host["packages_error"],
        "missing_commands": host["missing_commands"],
        "commands_checked": host["commands_checked"],
        "commands_error": host["commands_error"],
        "disks": host["disks"],
        "agent": {"home": wanted["agent_home"], "present": wanted["agent_control"] in host["executables"]},
        "local_fact": read_local_fact(host["files"], wanted["fact_file"]),
        "recorded": read_record(read_json_file(host["files"], wanted["record_file"]), whole=wanted["record"]),
        "done": read_json_file(host["files"], wanted["done_file"]) or {},
        "absent_directories": host["absent_directories"],
        "pending_restart": pending_restart(read_json_file(host["files"], wanted["pending_file"]), proxy),
        "leftovers": host["leftovers"],
        "unreadable": unreadable(host, proxies, wanted["fact_file"]),
        **sql,
    }
    facts["version"], facts["version_from"] = version(facts, host["binary_version"])
    facts["exporter"] = exporter(proxy, facts["parameters"], host)
    facts["drift"] = drift(facts, wanted)
    facts["parameter_drift"] = parameter_drift(wanted["desired"], facts["parameters"])
    facts["password_drift"] = password_drift(facts)
    return facts


def proxy_at_port(host: Facts, port: int) -> Facts | None:
    """Return the OBProxy that holds a port; during a hot restart, the successor."""
    proxies = [found for found in host["processes"] if is_proxy(found) and not found["defunct"]]
    draining = draining_proxies(port, proxies)
    return next((found for found in proxies if port in found["ports"] and found not in draining), None)


def supervision(found: Facts | None) -> tuple[Facts, list[int]]:
    """Return the supervisor as data, and the pids of the watchdogs."""
    if found is None:
        return {"kind": NONE, "description": "nothing", "unit": ""}, []
    if problem := found.get("problem"):
        return {"kind": UNKNOWN, "description": f"unknown, it could not be read: {problem}", "unit": ""}, []
    return asdict(supervisor_of(found)), [one["pid"] for one in found["watchdogs"]]


def unreadable(host: Facts, proxies: list[Facts], fact_file: str) -> list[str]:
    """Return messages about everything that exists and could not be read, so that it does not count as absent."""
    found = [f"/proc of pid {one['pid']} ({one['comm']}): {one['unreadable']}" for one in proxies if one["unreadable"]]
    holders = [
        f"the sockets of port {port}'s process: {one['unreadable']}"
        for port, one in host["holders"].items()
        if one["unreadable"] and not one["pid"] and not found
    ]
    files = [
        f"{one['path']}: {why}" for one in host["files"] if one["path"] != fact_file and (why := why_unreadable(one))
    ]
    disks = [one["description"] for one in host["disks"] if one["error"]]
    return found + holders + files + disks


def why_unreadable(file: Facts) -> str | None:
    """Return why one of the takeover's own files cannot be used, None when it can."""
    if file["error"]:
        return str(file["error"])
    is_note = file["text"] is None or json_object(file["text"]) is not None
    return None if is_note else "it is not a JSON object"


def draining_proxies(port: int, proxies: list[Facts]) -> list[Facts]:
    """Return the OBProxies that drain after a hot restart.

    Their child holds the same listening socket, which the old process keeps until its clients have disconnected
    (docs/reference/obproxy.md 2.6).
    """
    holders = [found for found in proxies if port in found["ports"]]
    parents = {(found["ppid"], found["home"]) for found in holders}
    return [found for found in holders if (found["pid"], found["home"]) in parents]


def is_proxy(process: Facts) -> bool:
    """Return whether a process is an OBProxy by its comm or executable (docs/reference/obproxy.md 7.4)."""
    return process["comm"] == "obproxy" or Path(process["exe"]).name == "obproxy"


def sql_ports(own: int, proxies: Sequence[Facts]) -> list[int]:
    """Return the SQL ports of OBProxy processes, at most `_MAX_PORTS`, with `own` first if a process has it."""
    ports = {sql_port_of(found) for found in proxies}
    return sorted(ports, key=lambda port: (port != own, port))[:_MAX_PORTS]


def describe_process(process: Facts) -> str:
    """Return the description of a process for messages."""
    ports = f" at ports {', '.join(map(str, process['ports']))}" if process["ports"] else ""
    if process["ports_inside"]:
        ports += f" at ports {', '.join(map(str, process['ports_inside']))} of a network namespace of its own"
    ports += f" in a container ({process['engine']})" if process["engine"] else ""
    return (
        f"{process['keyword']} with pid {process['pid']} of {process['owner']} in {process['home']}{ports} "
        f"({process['cmdline_start']})"
    )


def is_own_script(process: Facts, proxy: Facts | None) -> bool:
    """Return whether a process is a script in the OBProxy's home, such as its control script during a start."""
    if proxy is None or is_proxy(process) or not process["script"] or proxy["engine"]:
        return False
    return proxy["home"] in (process["home"], str(Path(process["script"]).parent.parent))


def version(facts: Facts, binary_version: str) -> tuple[str | None, str | None]:
    """Return VERSION-BUILD and its source: the OBProxy itself first, the directory name last."""
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
    """Return VERSION-BUILD from the output of `obproxy -V`, such as "obproxy (OceanBase 4.3.1.0 11.el7)".

    See docs/reference/obproxy.md 2.1.
    """
    found = re.search(r"\(OceanBase (\d+(?:\.\d+)+) (\d+)", text)
    return f"{found[1]}-{found[2]}" if found else None


def version_in_path(exe: str) -> str | None:
    """Return the version in a directory name such as /opt/taobao/install/obproxy-1.9.1.1, without build."""
    found = re.search(r"/obproxy-(\d+(?:\.\d+)+)/", exe)
    return found[1] if found else None


def read_local_fact(files: list[Facts], path: str) -> Facts | None:
    """Return the local fact with the OBProxy's manager; an unreadable file counts as an unknown manager's."""
    found = next((found for found in files if found["path"] == path), {"text": None, "error": None})
    text = found["text"]
    if found["error"]:
        return {"managed_by": f"unknown (the file cannot be read: {found['error']})"}
    if text is None:
        return None
    note = json_object(text)
    return note if note is not None else {"managed_by": "unknown (the file is not a JSON object)"}


def is_managed(facts: Facts, managed_by: str) -> bool:
    """Return whether the local fact is this manager's, for the OBProxy at this port.

    The host has one fact for all ports, so an OBProxy that was moved to another port may have been taken over since.
    """
    note = facts["local_fact"] or {}
    return note.get("managed_by") == managed_by and note.get("sql_port", facts["sql_port"]) == facts["sql_port"]


def read_json_file(files: list[Facts], path: str) -> Facts | None:
    """Return the JSON object in one of the takeover's own files, None when there is none."""
    text = next((found["text"] for found in files if found["path"] == path), None)
    return None if text is None else json_object(text)


def read_record(note: Facts | None, *, whole: bool) -> Facts | None:
    """Return the record of the state before the takeover; `whole` includes its 300 parameters."""
    return note if whole or note is None else {key: note[key] for key in note if key != "parameters"}


def json_object(text: str) -> Facts | None:
    """Return the JSON object in a text, None for anything else."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def pending_restart(note: Facts | None, process: Facts | None) -> list[str]:
    """Return the parameters of an earlier takeover that still wait for a restart.

    SHOW PROXYCONFIG shows such values as if they were applied (docs/reference/obproxy.md 4.6). A file therefore lists
    them with the start time of the process that does not use them yet.
    """
    if not note or not process or note.get("started") != process["started"]:
        return []
    return [str(name) for name in note.get("parameters", [])]


def drift(facts: Facts, wanted: Facts) -> list[str]:
    """Return messages about the differences between the adopted OBProxy and the cluster's settings."""
    process, package = facts["process"], facts["package"]
    if process is None:
        return []
    found = []
    if package is None and not facts["packages_error"]:
        found.append(f"the running binary {process['exe']} belongs to no package")
    elif package and wanted["package_name"] and name_of_package(package) != wanted["package_name"]:
        found.append(f"the running binary belongs to {package}, the cluster's is {wanted['package_name']}")
    if wanted["package_version"] and facts["version"] and facts["version"] != wanted["package_version"]:
        found.append(f"version {facts['version']} runs, the cluster's is {wanted['package_version']}")
    if process["exe_deleted"]:
        found.append(f"the running binary {process['exe']} has been replaced or removed since it was started")
    if facts["supervisor"]["kind"] == NONE:
        found.append("no watchdog (obproxyd.sh) supervises it")
    app_name = facts["parameters"].get("app_name")
    if app_name is not None and wanted["app_name"] and app_name != wanted["app_name"]:
        found.append(f"its app_name is '{app_name}', the cluster's is '{wanted['app_name']}'")
    return found


def password_drift(facts: Facts) -> list[str]:
    """Return the passwords that are not the cluster's, without one that this version cannot set."""
    left_out = set() if has_settable_proxyro(facts["version"]) else {PROXYRO}
    return sorted({name for name, same in facts["passwords_as_desired"].items() if not same} - left_out)


def parameter_drift(desired: Mapping[str, object], parameters: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the parameters that differ from the cluster's values, with both values."""
    differ = differences(desired, parameters, ())
    return [{"name": one.name, "expected": one.after, "found": one.before} for one in differ]


def sql_facts(
    config: Sequence[Mapping[str, Any]],
    binary: str,
    clusters: list[str],
    login: str,
    desired: Mapping[str, str | None],
    given: str | None = None,
) -> Facts:
    """Return the SQL part of the fact, from the rows of SHOW PROXYCONFIG (docs/reference/obproxy.md trap 6).

    `desired` maps password parameters to the desired plain text, None where the cluster has none. `given` is proxyro's
    current password, if the caller has given it.
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
        "passwords_as_desired": {
            name: raw.get(name) == stage_one(password) for name, password in desired.items() if password is not None
        },
        "built_in_passwords": [name for name in desired if is_built_in(name, raw.get(name))],
        "proxyro_as_given": given is not None and raw.get(PROXYRO) == stage_one(given),
        "clusters": sorted(set(clusters)),
        "start_mode": "config_url" if url else "rs_list",
        "config_server_url": url,
        "rs_list": raw.get("rootservice_list", ""),
    }


def parameter_definitions(config: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return [description, needs a restart, range, read-only] of each parameter in SHOW PROXYCONFIG.

    Old versions have no column `range`. A `virtual` parameter cannot be set.
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


def no_sql_facts(login: str, error: str | None) -> Facts:
    """Return the SQL part of the fact without a login; `login` is `denied`, `unreachable` or `untried`."""
    empty = sql_facts([], "", [], login, {})
    return empty | {"login_error": error, "start_mode": None}


def server_row(facts: Facts) -> Facts:
    """Return the data of the OBProxy server for `obproxy_server` in a result; unknown keys are left out."""
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


def discovered_row(facts: Facts, parameters: Facts) -> Facts:
    """Return the data of the OBProxy server after a discovery; `parameters` is empty when none could be read."""
    row = server_row(facts)
    if not row:
        return {}
    if not parameters:
        return row | {"login_error": " ".join(str(facts["login_error"] or facts["login"]).split())}
    return row | parameters | {key: facts[key] for key in ("parameter_drift", "password_drift")}


def found_obproxy(facts: Facts) -> Facts:
    """Return the data of a discovered OBProxy for `obproxy_found` in a result; without a process, `pid` is None."""
    process, note = facts["process"], facts["local_fact"] or {}
    if process is None:
        return {"sql_port": facts["sql_port"], "pid": None}
    return {
        "sql_port": facts["sql_port"],
        "pid": process["pid"],
        "version": facts["version"],
        "package": facts["package"],
        "app_name": facts["parameters"].get("app_name") or process["named"]["app_name"],
        "home": process["home"],
        "owner": process["owner"],
        "supervisor": facts["supervisor"]["kind"],
        "start_mode": facts["start_mode"],
        "login": facts["login"],
        "managed_by": note.get("managed_by"),
        "managed_cluster": note.get("cluster_name"),
    }
