"""Discovery of a managed OBProxy server: reads its state on the host by playbooks/discover.yml, without changes."""

import logging
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

from service.inventory.snapshot import InventorySnapshot
from service.model.errors import TakeoverError, UnknownCluster, UnknownHost
from service.model.fleet import ObproxyServer
from service.model.types import JSON
from service.observe.metrics import DISCOVERIES
from service.outcome import ansible_results, server_facts
from service.runs.run import Run
from service.runs.spec import RunInputs, RunSpec
from service.store.database import execute, fetch, fetch_as
from service.store.database_errors import retry_contention
from service.tasks.resources import Resources
from service.tasks.server_facts import record_discovery_error, record_server_facts
from service.worker.discovery_run import PLAYBOOK, TIMEOUT, started

log = logging.getLogger(__name__)

FAILED = ("runner_on_failed", "runner_on_unreachable")


async def perform(resources: Resources, server_id: int) -> None:
    """Discover an OBProxy server and record the result, unless a takeover of it is running."""
    async with resources.database.autocommit() as connection:
        servers = await fetch_as(connection, ObproxyServer, "server_for_discovery", server_id=server_id)
        (now,) = await fetch(connection, "time_now")
    if not servers:
        return
    try:
        spec, snapshot = await _run_spec(resources, servers[0])
        facts, problem = await _discover(spec, snapshot)
    except (TakeoverError, OSError, TimeoutError) as error:
        DISCOVERIES.labels("failed").inc()
        reason = str(error) or f"it took longer than {TIMEOUT:.0f} seconds"
        await _record_error(resources, server_id, now["moment"], reason)
        _log(servers[0], f"could not be discovered: {reason}")
        return
    DISCOVERIES.labels("seen" if facts else "not_seen").inc()
    if await _record(resources, server_id, now["moment"], facts, problem):
        _log(servers[0], "is RUNNING on its host" if facts else "is UNAVAILABLE: it does not run on its host either")


@retry_contention
async def _record(resources: Resources, server_id: int, began: datetime, facts: JSON, problem: str) -> bool:
    """Record the server facts of a discovery, or why there are none; return whether the server's status has changed.

    Facts that are older than the work of a run are out of date, and are dropped.
    """
    async with resources.database.transaction() as connection:
        await execute(connection, "lock_servers", server_ids=[server_id])
        if await fetch(connection, "runs_of_server_since", server_id=server_id, began=began):
            return False
        if facts:
            await record_server_facts(connection, "update_managed_server_facts", server_id, facts)
        else:
            await record_discovery_error(connection, server_id, problem)
        query = "mark_discovered_server_running" if facts else "mark_undiscovered_server_unavailable"
        return bool(await fetch(connection, query, server_id=server_id))


@retry_contention
async def _record_error(resources: Resources, server_id: int, began: datetime, reason: str) -> None:
    """Record why a discovery has failed, unless a run has worked on the server since it began."""
    async with resources.database.transaction() as connection:
        await execute(connection, "lock_servers", server_ids=[server_id])
        if not await fetch(connection, "runs_of_server_since", server_id=server_id, began=began):
            await record_discovery_error(connection, server_id, reason)


async def _run_spec(resources: Resources, server: ObproxyServer) -> tuple[RunSpec, InventorySnapshot]:
    inventory = await resources.inventory.current()
    if server.host_id not in inventory.hosts:
        raise UnknownHost(host_id=server.host_id)
    if server.cluster_id not in inventory.clusters:
        raise UnknownCluster(cluster_id=server.cluster_id)
    spec = RunSpec(
        ident=str(uuid.uuid4()),
        playbook=PLAYBOOK,
        roles=(),
        inputs=RunInputs(
            host=inventory.hosts[server.host_id],
            cluster=inventory.clusters[server.cluster_id],
            sql_port=server.sql_port,
        ),
    )
    return spec, inventory.snapshot


async def _discover(spec: RunSpec, snapshot: InventorySnapshot) -> tuple[JSON, str]:
    """Return the server facts, empty when none were read, and the reason; raises OSError and TimeoutError."""
    async with started(spec, snapshot) as run:
        return await _server_facts(run, spec)


async def _server_facts(run: Run, spec: RunSpec) -> tuple[JSON, str]:
    """Return the server facts of the first event that has them, and the reason why there are none.

    The events after it are about the other OBProxies of the host.
    """
    problem = f"no OBProxy listens on port {spec.inputs.sql_port}"
    async with aclosing(run.batches()) as batches:
        async for batch, _ in batches:
            for event in batch:
                if not ansible_results.is_authentic(event, spec.token):
                    continue
                if event.get("event") == "runner_on_ok" and _has_server_facts(event):
                    facts = server_facts.validated(event)[0]
                    return facts, "" if facts else problem
                if event.get("event") in FAILED:
                    problem = ansible_results.failure_message(event)
    return {}, problem


def _has_server_facts(event: Mapping[str, Any]) -> bool:
    return "obproxy_server" in ansible_results.mapping(ansible_results.mapping(event.get("event_data")).get("res"))


def _log(server: ObproxyServer, message: str) -> None:
    log.warning(
        "OBProxy server %s (%s:%s) %s",
        *(server.id, server.ip, server.sql_port, message),
        extra={"action": "server_discovery", "server_id": server.id},
    )
