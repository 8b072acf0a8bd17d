"""Discovery of a host: reads which OBProxies run there, by playbooks/discover.yml, without changes."""

import logging
import uuid
from contextlib import aclosing
from datetime import datetime

import psycopg
from psycopg.types.json import Jsonb

from service.inventory.reader import Inventory
from service.inventory.records import Cluster, Host
from service.model.errors import TakeoverError, UnknownHost
from service.observe.metrics import HOST_DISCOVERIES
from service.outcome import ansible_results
from service.outcome.host_findings import MESSAGE_LIMIT, HostFindings, Outcome
from service.runs.spec import RunInputs, RunSpec
from service.store.database import execute, fetch
from service.store.database_errors import is_transient, retry_contention
from service.tasks.resources import Resources
from service.worker.discovery_run import PLAYBOOK, TIMEOUT, started
from service.worker.job import JobPostponed

log = logging.getLogger(__name__)

CONCURRENCY = 4  # discoveries of hosts by one worker, beside its runs of task instances


async def perform(resources: Resources, host_id: int) -> None:
    """Discover a host and record the result, also that it cannot be discovered.

    Raise JobPostponed while the database cannot be written.
    """
    try:
        await _perform(resources, host_id)
    except psycopg.Error as error:
        if not is_transient(error):
            raise
        raise JobPostponed(f"The discovery of host {host_id} cannot be recorded now: {error}") from error


async def _perform(resources: Resources, host_id: int) -> None:
    async with resources.database.autocommit() as connection:
        (row,) = await fetch(connection, "start_of_host_discovery", host_id=host_id)
    try:
        found = await _discover(resources, host_id)
    except TimeoutError:
        found = _failed(f"The discovery has not ended within {TIMEOUT:.0f} s.")
    except (TakeoverError, OSError) as error:
        found = _failed(str(error) or type(error).__name__)
    except Exception as error:
        found = _lost(host_id, error)
    try:
        await _record(resources, host_id, row["moment"], found)
    except psycopg.Error as error:
        if is_transient(error):
            raise
        found = _lost(host_id, error)
        await _record(resources, host_id, row["moment"], found)
    HOST_DISCOVERIES.labels(found.outcome).inc()


async def _discover(resources: Resources, host_id: int) -> HostFindings:
    """Return what runs on a host; raise TakeoverError, OSError and TimeoutError."""
    inventory = await resources.inventory.current()
    if host_id not in inventory.hosts:
        raise UnknownHost(host_id=host_id)
    host = inventory.hosts[host_id]
    spec = RunSpec(
        ident=str(uuid.uuid4()),
        playbook=PLAYBOOK,
        roles=(),
        inputs=RunInputs(
            host=host,
            cluster=_cluster_of(inventory, host),
            sql_port=host.sql_port,
            variables={"only_known_users": True},
        ),
    )
    found = HostFindings(token=spec.token)
    async with started(spec, inventory.snapshot) as run, aclosing(run.batches()) as batches:
        async for batch, end in batches:
            for event in batch:
                found.add(event)
            if end is not None:
                found.finish(end)
    return found


def _cluster_of(inventory: Inventory, host: Host) -> Cluster | None:
    """Return the OBProxy cluster that the inventory has the host in."""
    return next((cluster for cluster in inventory.clusters.values() if host.is_in(cluster)), None)


def _lost(host_id: int, error: Exception) -> HostFindings:
    """Log an unexpected error; return findings with it. The host must not stay pending, whatever has failed."""
    log.error("The discovery of host %s failed", host_id, exc_info=error, extra={"action": "host_discovery_lost"})
    return _failed(f"The service failed: {type(error).__name__}.")


def _failed(message: str) -> HostFindings:
    return HostFindings(token=0, outcome=Outcome.FAILED, message=ansible_results.clean(message, MESSAGE_LIMIT))


@retry_contention
async def _record(resources: Resources, host_id: int, start_time: datetime, found: HostFindings) -> None:
    async with resources.database.transaction() as connection:
        await execute(
            connection,
            "record_host_discovery",
            host_id=host_id,
            start_time=start_time,
            outcome=found.outcome,
            message=found.message or None,
            rules=Jsonb(found.rules),
            obproxies=Jsonb([found.obproxies[port] for port in sorted(found.obproxies)]),
        )
        await execute(connection, "notify_discovery_changes", host_ids=[host_id])
