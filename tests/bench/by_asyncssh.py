"""The floor: a takeover without Ansible, by the same host programs and the same SQL over one asyncssh connection.

Reads what to do from standard input as JSON; each host is an [address, SQL port]. A program of its own, written
for the purpose: no subtasks, no events, no check mode, no rollback, messages only for what it must know.
"""

import asyncio
import base64
import hashlib
import http.client
import json
import os
import socket
import sys
from typing import Any

import asyncssh
from ansible_collections.obproxy.takeover.plugins.module_utils.host_programs import parse_result, program_text
from ansible_collections.obproxy.takeover.plugins.module_utils.masking import MASK, is_secret, stage_one
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import differences
from ansible_collections.obproxy.takeover.plugins.module_utils.sql import Session, apply_parameters, log_in
from ansible_collections.obproxy.takeover.plugins.module_utils.versions import version_in
from cryptography.fernet import Fernet

FACT = "/etc/ansible/facts.d/obproxy.fact"
STATE = "/var/lib/obproxy-takeover"
AGENT = "/home/admin/ocp_agent"
MINIMUM_FREE_MB = 64

JSON = dict[str, Any]


class Failed(Exception):
    """A host cannot be taken over; the text is the reason."""


async def take_over(wanted: JSON, address: str, port: int) -> None:
    """One host, from the first look to the note of who manages it; raises Failed."""
    async with asyncssh.connect(
        address, username="ops", client_keys=[wanted["key"]], known_hosts=wanted["known_hosts"], config=None
    ) as host:
        found = await on_host(host, "probe", question(port))
        async with host.forward_local_port("127.0.0.1", 0, "127.0.0.1", port) as sql:
            config, version = await asyncio.to_thread(read, wanted, sql.get_port())
            current = {row["name"]: str(row["value"] or "") for row in config}
            proxy = check(wanted, found, current, version, port)
            shown = {name: MASK if is_secret(name) else value for name, value in current.items()}
            before = {"version": version, "home": proxy["home"], "packages": found["packages"], "parameters": shown}
            record = {"path": f"{STATE}/before-{port}.json", "mode": "0600", "directory_mode": "0700"}
            former = {"passwords": sealed(wanted["current_password"], wanted["sys_password"])}
            await converge(host, record | {"text": text_of(before | former), "replace": False})
            await asyncio.to_thread(change, wanted, config, sql.get_port())
            metrics = int(current["prometheus_listen_port"])
            async with host.forward_local_port("127.0.0.1", 0, "127.0.0.1", metrics) as exporter:
                await asyncio.to_thread(check_exporter, exporter.get_port())
            await asyncio.to_thread(check_again, wanted, port, sql.get_port())
        note = {"managed_by": "obproxy-takeover", "cluster_id": wanted["cluster"]["obproxy_cluster_id"]}
        note |= {"sql_port": port, "version": version, "exporter_port": metrics}
        note |= {key: proxy[key] for key in ("home", "owner")}
        process = {key: proxy[key] for key in ("pid", "started")}
        await converge(host, {"path": FACT, "text": text_of(note)}, process)
        await converge(host, record | {"text": text_of(before | {"passwords": None})})


async def on_host(host: asyncssh.SSHClientConnection, name: str, arguments: JSON) -> JSON:
    """One program on the host, as root; its answer."""
    command = "sudo -H -n -u root /usr/bin/python3 -IS -"
    ended = await host.run(command, input=program_text(name, arguments).decode(), check=True)
    return parse_result(str(ended.stdout))


async def converge(host: asyncssh.SSHClientConnection, file: JSON, process: JSON | None = None) -> None:
    """Bring one file on the host to its wanted text."""
    usual = {"mode": "0644", "replace": True, "directory_mode": "0755", "keep": False, "signature": ""}
    arguments: JSON = {
        "check": False,
        "as_user": None,
        "commands": [],
        "prune": [],
        "seconds": 60,
        "process": process,
    }
    answer = await on_host(host, "converge", arguments | {"files": [usual | file]})
    if answer.get("problem"):
        raise Failed(answer["problem"])


def question(port: int) -> JSON:
    """Return the question of the first discovery, the same as the playbook's."""
    own = [f"{STATE}/{name}-{port}.json" for name in ("before", "pending", "done")]
    return {
        "sql_port": port,
        "keywords": ["obproxy", "obproxyd.sh"],
        "commands": ["nc"],
        "owner": "admin",
        "directories": ["/var/lib", "/etc"],
        "files": [FACT, *own],
        "places": [f"{AGENT}/conf/module_config/obproxy.yaml"],
        "executables": [f"{AGENT}/bin/ocp_agentctl"],
        "seconds": 60,
    }


def session(local_port: int, *passwords: str) -> Session:
    """Return a login as root@proxysys with the first password that works."""
    candidates = [(str(number), password) for number, password in enumerate(passwords)]
    return log_in(lambda: socket.create_connection(("127.0.0.1", local_port)), candidates)[2]


def read(wanted: JSON, local_port: int) -> tuple[list[JSON], str | None]:
    """Return the rows of SHOW PROXYCONFIG, and the version."""
    with session(local_port, wanted["current_password"], wanted["sys_password"], "") as sql:
        config = [dict(row) for row in sql.rows("SHOW PROXYCONFIG")]
        version = version_in(sql.binary())
        sql.clusters()
        return config, version


def check(wanted: JSON, found: JSON, current: JSON, version: str | None, port: int) -> JSON:
    """Check the rules of the first six subtasks; return the OBProxy's process."""
    cluster = wanted["cluster"]
    proxies = [process for process in found["processes"] if process["comm"] == "obproxy"]
    at_port = [process for process in proxies if port in process["ports"]]
    metrics = int(current["prometheus_listen_port"])
    mode = "config_url" if current["obproxy_config_server_url"] else "rs_list"
    majors = {int((one or "0").split(".")[0]) >= 4 for one in (version, cluster["obproxy_package_version"])}
    foreign = [process for process in found["processes"] if process["home"] != at_port[0]["home"]] if at_port else []
    rules = {
        "one OBProxy runs, at the port": len(proxies) == len(at_port) == 1,
        "it does not belong to root": all(process["owner"] != "root" for process in at_port),
        "versions are not mixed": len(majors) == 1,
        "the start mode is the cluster's": mode == cluster["obproxy_start_mode"],
        "nobody else manages it": all(file["text"] is None for file in found["files"] if file["path"] == FACT),
        "there is room": all(disk["free_mb"] >= MINIMUM_FREE_MB and not disk["read_only"] for disk in found["disks"]),
        "the exporter's port is its own": all(metrics in process["ports"] for process in at_port),
        "no foreign process runs": not foreign,
        "every command is there": found["commands_checked"] and not found["missing_commands"],
        "one package is installed": len(found["packages"]) == 1,
    }
    if broken := [rule for rule, holds in rules.items() if not holds]:
        raise Failed("; ".join(broken))
    process: JSON = at_port[0]
    return process


def sealed(password: str, key: str) -> str:
    """Encrypt a password with as many rounds of PBKDF2 as Ansible Vault uses."""
    salt = os.urandom(32)
    derived = hashlib.pbkdf2_hmac("sha256", key.encode(), salt, 10_000)
    return salt.hex() + Fernet(base64.urlsafe_b64encode(derived)).encrypt(password.encode()).decode()


def text_of(content: JSON) -> str:
    """Return the text of a JSON file."""
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def change(wanted: JSON, config: list[JSON], local_port: int) -> None:
    """Parameters and passwords, each read back; the new password is proved while the old connection is open."""
    current = {row["name"]: str(row["value"] or "") for row in config}
    restart = [row["name"] for row in config if row["need_reboot"] == "true"]
    todo = differences(wanted["cluster"]["obproxy_parameters"], current, restart)
    if waiting := [one.name for one in todo if one.needs_restart]:
        raise Failed(f"act only after a restart: {waiting}")
    with session(local_port, wanted["current_password"]) as sql:
        apply_parameters(sql, todo)
    with session(local_port, wanted["current_password"]) as sql:
        sql.alter("observer_sys_password", wanted["proxyro_password"])
        if sql.parameter("observer_sys_password") != stage_one(wanted["proxyro_password"]):
            raise Failed("proxyro's password does not read back")
        sql.alter("obproxy_sys_password", wanted["sys_password"])
        with session(local_port, wanted["sys_password"]):
            pass


def check_exporter(local_port: int) -> None:
    """Check that it answers with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", local_port, timeout=10)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise Failed(f"the exporter answers {answer.status}")


def check_again(wanted: JSON, port: int, local_port: int) -> None:
    """Check the discovery of the eleventh subtask."""
    with session(local_port, wanted["sys_password"]) as sql:
        sql.ping()
        if sql.parameter("listen_port") != str(port) or not sql.binary():
            raise Failed("it does not answer for its port")


async def main() -> None:
    """All hosts side by side."""
    wanted = json.load(sys.stdin)
    await asyncio.gather(*(take_over(wanted, address, port) for address, port in wanted["hosts"]))


if __name__ == "__main__":
    asyncio.run(main())
