"""The floor: a takeover without Ansible, by the same host programs and the same SQL over one asyncssh connection.

Reads what to do from standard input as JSON; each host is an [address, SQL port]. A program of its own, as somebody
would write it for the purpose: no subtasks, no events, no check mode, no rollback, messages only for what it must know.
"""

import asyncio
import http.client
import json
import sys
from typing import Any

import asyncssh
from obproxy_takeover.facts import assemble, reading, server_row
from obproxy_takeover.masking import stage_one
from obproxy_takeover.remote import answer_in, program
from obproxy_takeover.sql import Session, apply, log_in
from obproxy_takeover.values import differences

FACT = "/etc/ansible/facts.d/obproxy.fact"
STATE = "/var/lib/obproxy-takeover"
AGENT = "/home/admin/ocp_agent"


class Failed(Exception):
    """A host cannot be taken over; the text says why."""


async def take_over(wanted: dict[str, Any], address: str, port: int) -> None:
    """One host, from the first look to the note of who manages it; raises Failed."""
    async with asyncssh.connect(
        address, username="ops", client_keys=[wanted["key"]], known_hosts=wanted["known_hosts"], config=None
    ) as host:
        found = await on_host(host, "probe", question(port))
        async with host.forward_local_port("127.0.0.1", 0, "127.0.0.1", port) as sql:
            facts = await asyncio.to_thread(read, wanted, found, port, sql.get_port())
            check(facts, wanted)
            record = {
                "path": f"{STATE}/before-{port}.json",
                "text": json.dumps(facts, indent=4, sort_keys=True) + "\n",
                "mode": "0600",
                "directory_mode": "0700",
                "replace": False,
            }
            await converge(host, record)
            await asyncio.to_thread(change, wanted, facts, sql.get_port())
            async with host.forward_local_port("127.0.0.1", 0, "127.0.0.1", facts["exporter"]["port"]) as exporter:
                await asyncio.to_thread(ask_exporter, exporter.get_port())
            await asyncio.to_thread(check_again, wanted, port, sql.get_port())
        note = {"managed_by": "obproxy-takeover", "cluster_id": wanted["cluster"]["obproxy_cluster_id"]}
        note |= {"sql_port": port} | server_row(facts)
        file = {"path": FACT, "text": json.dumps(note, indent=2, sort_keys=True) + "\n"}
        await converge(host, file, {key: facts["process"][key] for key in ("pid", "started")})


async def on_host(host: asyncssh.SSHClientConnection, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """One program on the host, as root; its answer."""
    command = "sudo -H -n -u root /usr/bin/python3 -IS -"
    ended = await host.run(command, input=program(name, arguments).decode(), check=True)
    return answer_in(str(ended.stdout))


async def converge(
    host: asyncssh.SSHClientConnection, file: dict[str, Any], process: dict[str, Any] | None = None
) -> None:
    """Bring one file on the host to its wanted text."""
    usual = {"mode": "0644", "replace": True, "directory_mode": "0755", "keep": False, "prune": False}
    arguments = {"files": [usual | file], "check": False, "as_owner_of": None, "commands": [], "seconds": 60}
    answer = await on_host(host, "converge", arguments | {"process": process})
    if answer.get("problem"):
        raise Failed(answer["problem"])


def question(port: int) -> dict[str, Any]:
    """What the first look asks for: what the playbook's does."""
    return {
        "sql_port": port,
        "keywords": ["obproxy", "obproxyd.sh"],
        "commands": ["nc"],
        "owner": "admin",
        "directories": ["/var/lib", "/etc"],
        "files": [FACT, f"{STATE}/before-{port}.json", f"{STATE}/pending-{port}.json"],
        "executables": [f"{AGENT}/bin/ocp_agentctl"],
        "seconds": 60,
    }


def session(local_port: int, *passwords: str) -> Session:
    """A login as root@proxysys with the first password that works."""
    import socket

    return log_in(
        lambda: socket.create_connection(("127.0.0.1", local_port)), [(str(n), p) for n, p in enumerate(passwords)]
    )[2]


def read(wanted: dict[str, Any], found: dict[str, Any], port: int, local_port: int) -> dict[str, Any]:
    """The facts of the host, as the playbook's discovery has them."""
    cluster = wanted["cluster"]
    with session(local_port, wanted["current_password"], wanted["sys_password"], "") as sql:
        passwords = {
            "obproxy_sys_password": wanted["sys_password"],
            "observer_sys_password": wanted["proxyro_password"],
        }
        config = sql.rows("SHOW PROXYCONFIG")
        told = reading(config, sql.binary(), sql.clusters(), "given", passwords)
    asked = {
        "sql_port": port,
        "asked": {},
        "package_name": cluster["obproxy_package_name"],
        "package_version": cluster["obproxy_package_version"],
        "agent_home": AGENT,
        "agent_control": f"{AGENT}/bin/ocp_agentctl",
        "fact_file": FACT,
        "record_file": f"{STATE}/before-{port}.json",
        "pending_file": f"{STATE}/pending-{port}.json",
    }
    return assemble(found, told, asked)


def check(facts: dict[str, Any], wanted: dict[str, Any]) -> None:
    """The rules of the first six subtasks."""
    cluster = wanted["cluster"]
    new = {(version or "0").split(".")[0] >= "4" for version in (facts["version"], cluster["obproxy_package_version"])}
    rules = {
        "one OBProxy runs": facts["running"] and len(facts["proxies"]) == 1,
        "it does not belong to root": facts["running"] and facts["process"]["owner"] != "root",
        "versions are not mixed": len(new) == 1,
        "the start mode is the cluster's": facts["start_mode"] == cluster["obproxy_start_mode"],
        "nobody else manages it": facts["local_fact"] is None,
        "there is room": all(disk["free_mb"] >= 64 and not disk["read_only"] for disk in facts["disks"]),
        "the exporter's port is its own": facts["exporter"]["held_by"] == "proxy",
        "no foreign process runs": not facts["others"],
        "every command is there": facts["commands_checked"] and not facts["missing_commands"],
        "one package is installed": len(facts["packages"]) == 1,
    }
    if broken := [rule for rule, holds in rules.items() if not holds]:
        raise Failed("; ".join(broken))


def change(wanted: dict[str, Any], facts: dict[str, Any], local_port: int) -> None:
    """Parameters and passwords, each read back; the new password is proved while the old connection is open."""
    parameters = wanted["cluster"]["obproxy_parameters"]
    with session(local_port, wanted["current_password"]) as sql:
        apply(sql, differences(parameters, facts["parameters"], facts["restart_parameters"]))
        sql.alter("observer_sys_password", wanted["proxyro_password"])
        if sql.parameter("observer_sys_password") != stage_one(wanted["proxyro_password"]):
            raise Failed("proxyro's password does not read back")
        sql.alter("obproxy_sys_password", wanted["sys_password"])
        with session(local_port, wanted["sys_password"]):
            pass


def ask_exporter(local_port: int) -> None:
    """It must answer with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", local_port, timeout=10)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != http.client.OK:
        raise Failed(f"the exporter answers {answer.status}")


def check_again(wanted: dict[str, Any], port: int, local_port: int) -> None:
    """The last look of the eleventh subtask."""
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
