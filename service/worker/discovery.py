"""A closer look at a managed OBProxy server: its host is asked by playbooks/discover.yml, which changes nothing."""

import asyncio
import logging
import time
import uuid
from contextlib import aclosing

from service.model.errors import TakeoverError, UnknownCluster, UnknownHost
from service.model.fleet import ObproxyServer
from service.model.settings import PROJECT
from service.model.types import JSON
from service.observe.metrics import LOOKS
from service.outcome import ansible_results
from service.runs import run
from service.runs.files import Given
from service.runs.run import Run, RunRequest
from service.store.database import fetch, fetch_as
from service.store.database_errors import retry_contention
from service.tasks.resources import Resources
from service.tasks.server_facts import record_server_facts

log = logging.getLogger(__name__)

PLAYBOOK = PROJECT / "playbooks" / "discover.yml"
LIMIT = 90.0  # seconds that a look may take
RENEWAL = 3.0  # seconds between two words to the run that it is still wanted


async def perform(resources: Resources, server_id: int) -> None:
    """Look at an OBProxy server and write down what was found, unless somebody is taking it over by now."""
    async with resources.database.single() as connection:
        servers = await fetch_as(connection, ObproxyServer, "server_for_discovery", server_id=server_id)
    if not servers:
        return
    try:
        request = await _request(resources, servers[0])
        values = await _ask(request)
    except (TakeoverError, OSError, TimeoutError) as error:
        LOOKS.labels("failed").inc()
        _told(servers[0], f"could not be looked at: {error or type(error).__name__}")
        return
    LOOKS.labels("seen" if values else "not_seen").inc()
    if await _write(resources, server_id, values):
        _told(servers[0], "is RUNNING, says its host" if values else "is UNAVAILABLE: its host does not show it either")


@retry_contention
async def _write(resources: Resources, server_id: int, values: JSON | None) -> bool:
    """Record what a host says about an OBProxy server; return whether its status has changed."""
    async with resources.database.transaction() as connection:
        if values:
            await record_server_facts(connection, "update_managed_server_facts", server_id, values)
        query = "mark_discovered_server_running" if values else "mark_undiscovered_server_unavailable"
        return bool(await fetch(connection, query, server_id=server_id))


async def _request(resources: Resources, server: ObproxyServer) -> RunRequest:
    inventory = await resources.inventory.current()
    if server.host_id not in inventory.hosts:
        raise UnknownHost(host_id=server.host_id)
    if server.cluster_id not in inventory.clusters:
        raise UnknownCluster(cluster_id=server.cluster_id)
    return RunRequest(
        ident=str(uuid.uuid4()),
        playbook=PLAYBOOK,
        roles=(),
        given=Given(
            host=inventory.hosts[server.host_id],
            cluster=inventory.clusters[server.cluster_id],
            sql_port=server.sql_port,
        ),
        reading=inventory.reading,
    )


async def _ask(request: RunRequest) -> JSON:
    """What the host says about the OBProxy; empty when it says nothing or has none."""
    started = await asyncio.to_thread(run.start, request)
    keeping = asyncio.create_task(_keep(started), name=f"look-{request.ident}")
    try:
        async with asyncio.timeout(LIMIT):
            return await _answer(started, request)
    finally:
        keeping.cancel()
        await started.end()


async def _keep(started: Run) -> None:
    while True:
        started.renew(time.monotonic())
        await asyncio.sleep(RENEWAL)


async def _answer(started: Run, request: RunRequest) -> JSON:
    """The answer as soon as it is there; the run that brought it may then be ended."""
    async with aclosing(started.batches()) as batches:
        async for batch, _ in batches:
            for event in batch:
                ours = ansible_results.is_authentic(event, request.token) and event.get("event") == "runner_on_ok"
                if ours and (values := ansible_results.learned(event)[0]):
                    return values
    return {}


def _told(server: ObproxyServer, what: str) -> None:
    log.warning(
        "OBProxy server %s (%s:%s) %s",
        *(server.id, server.ip, server.sql_port, what),
        extra={"action": "server_look", "server_id": server.id},
    )
