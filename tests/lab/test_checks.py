"""The status of a managed OBProxy server follows its proxy, and its host where the port cannot be reached."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from service.access.roles import Role
from service.access.users import User
from service.fleet import clusters, parameters
from service.model.fleet import ObproxyServer, ParameterDifference, ServerStatus
from service.model.settings import Settings
from service.tasks import managed_servers
from service.tasks.managed_servers import ServersRequest
from service.tasks.resources import Resources, open_resources
from service.tasks.submit import HostRequest, take_over
from service.worker import discovery, worker

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .inventory import CLUSTERS, SYS_PASSWORD
from .tunnel import admin, query

DEADLINE = 120.0  # seconds anything may take at the most, on a machine that runs other tests
ADMIN = User(id=100, name="admin", roles=(Role.ADMIN,))
RUNNING, UNAVAILABLE = ServerStatus.RUNNING, ServerStatus.UNAVAILABLE
STALE = (  # what a restart has made untrue
    "UPDATE obproxy_server SET version = '4.0.0.0-1',"
    """ learned = learned || '{"pending_restart": ["work_thread_num"]}'"""
)


@pytest.fixture
async def resources(lab: Lab) -> AsyncIterator[Resources]:
    """Yield a service with a worker that checks all the time."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="checks-"))
        settings = Settings(
            inventory=lab.inventory,
            data_dir=Path(directory) / "data",
            server_check_interval=0.5,
            server_check_timeout=2.0,
        )
        opened = await stack.enter_async_context(open_resources(settings))
        await stack.enter_async_context(worker.running(opened))
        yield opened


async def server(resources: Resources) -> ObproxyServer:
    """Return the only server."""
    (found,) = (await clusters.get(resources, 1)).servers
    return found


async def until(resources: Resources, holds: Callable[[ObproxyServer], bool]) -> ObproxyServer:
    async with asyncio.timeout(DEADLINE):
        while not holds(found := await server(resources)):
            await asyncio.sleep(0.1)
    return found


async def managed(resources: Resources, host: LabHost) -> ObproxyServer:
    """Take a host over."""
    await take_over(
        resources, 1, [HostRequest(host_id=host.host_id, sql_port=host.sql_port)], creator=ADMIN, trace_id="t"
    )
    return await until(resources, lambda found: found.status is not ServerStatus.TAKINGOVER)


async def change(resources: Resources, statement: str) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute(statement.encode())


def stop(host: LabHost) -> None:
    host.run("pkill -9 -x obproxyd.sh; pkill -9 -x obproxy")


def start(host: LabHost) -> None:
    script = f"runuser -u admin -- {host.home}/bin/obproxyd.sh -c start"
    host.run(f"{script} -n test -p {host.sql_port} -u '{CLUSTERS[0].config_server_url}'")


def configured(lab: Lab, host: LabHost, name: str) -> object:
    """Return the proxy's own value."""
    with admin(lab, host, "Proxysys#1") as connection:
        return next(row[1] for row in query(connection, f"show proxyconfig like '{name}'"))


async def test_a_killed_proxy_is_unavailable_until_it_restarts(
    lab: Lab, resources: Resources, lab_host: StartHost
) -> None:
    host = lab_host()
    taken_over = await managed(resources, host)
    assert taken_over.status is RUNNING
    await change(resources, STALE)
    await change(resources, 'UPDATE server_parameters SET settings = settings || \'{"work_thread_num": "99"}\'')

    await asyncio.to_thread(stop, host)
    gone = await until(resources, lambda found: found.status is UNAVAILABLE)
    assert gone.last_active_time and taken_over.last_active_time
    assert taken_over.last_active_time <= gone.last_active_time <= gone.update_time

    await asyncio.to_thread(start, host)
    await until(resources, lambda found: found.status is RUNNING)
    looked_at = await until(resources, lambda found: found.learned["pending_restart"] == [])
    assert looked_at.version == taken_over.version
    assert looked_at.learned["pid"] == await asyncio.to_thread(host.proxy_pid)
    values = {found.name: found.values[0].value for found in await parameters.of_cluster(resources, 1)}
    assert values["work_thread_num"] == await asyncio.to_thread(configured, lab, host, "work_thread_num")


async def test_a_parameter_that_was_set_by_hand_is_drift_until_a_refresh(
    lab: Lab, resources: Resources, lab_host: StartHost
) -> None:
    host, name = lab_host(), "proxy_mem_limited"
    expected = CLUSTERS[0].parameters[name]
    taken_over = await managed(resources, host)
    assert (taken_over.parameter_drift, taken_over.unmanaged_changes, taken_over.drift) == ([], [], [])

    await asyncio.to_thread(alter, lab, host, SYS_PASSWORD, name, "2G")
    await discovery.perform(resources, taken_over.id)
    drifted = await server(resources)
    assert drifted.parameter_drift == [ParameterDifference(name=name, expected=expected, found="2G")]
    assert [(one.what, one.name, one.after) for one in drifted.unmanaged_changes or []] == [("parameter", name, "2G")]

    await asyncio.to_thread(alter, lab, host, SYS_PASSWORD, "obproxy_sys_password", "Other#123")
    await discovery.perform(resources, taken_over.id)
    denied = await server(resources)
    assert denied.discovery_error and "could not be read" in denied.discovery_error
    assert (denied.discovered, denied.parameter_drift) == (drifted.discovered, drifted.parameter_drift)
    assert denied.unmanaged_changes == drifted.unmanaged_changes

    await asyncio.to_thread(alter, lab, host, "Other#123", "obproxy_sys_password", SYS_PASSWORD)
    servers = ServersRequest(object_name="refresh", cluster_id=1, server_ids=[taken_over.id])
    workflow = resources.workflows["refresh"]
    await managed_servers.submit(resources, workflow, servers, creator=ADMIN, trace_id="t")
    refreshed = await until(resources, lambda found: found.operate_status == "NORMAL" and not found.parameter_drift)
    assert (refreshed.parameter_drift, refreshed.unmanaged_changes, refreshed.discovery_error) == ([], [], None)
    await discovery.perform(resources, taken_over.id)
    found = await server(resources)
    assert (found.parameter_drift, found.unmanaged_changes, found.drift) == ([], [], [])


def alter(lab: Lab, host: LabHost, password: str, name: str, value: str) -> None:
    """Set a parameter as another administrator does."""
    with admin(lab, host, password) as connection, connection.cursor() as cursor:
        cursor.execute(f"alter proxyconfig set {name} = '{value}'")


async def test_an_unreachable_port_causes_a_discovery(resources: Resources, lab_host: StartHost) -> None:
    host = lab_host()
    identifier = (await managed(resources, host)).id
    silent = "UPDATE obproxy_server SET ip = '127.9.9.9'"  # only the check uses it; no process listens there

    await rounds(resources, 3)  # it has answered in one of them: only then its silence counts
    await change(resources, silent)
    await until(resources, lambda found: found.status is UNAVAILABLE)
    await discovery.perform(resources, identifier)
    await stays(resources, RUNNING, lambda: rounds(resources, 3))

    await asyncio.to_thread(stop, host)
    await stays(resources, RUNNING, lambda: rounds(resources, 3))
    await discovery.perform(resources, identifier)
    assert (await server(resources)).status is UNAVAILABLE

    await asyncio.to_thread(start, host)
    await discovery.perform(resources, identifier)
    assert (await server(resources)).status is RUNNING


async def test_another_obproxy_of_the_host_does_not_count(resources: Resources, lab_host: StartHost) -> None:
    host = lab_host()
    identifier = (await managed(resources, host)).id
    await change(resources, "UPDATE obproxy_server SET ip = '127.9.9.9'")  # no process listens there
    other = "install -d -o admin /home/admin/other && cd /home/admin/other && runuser -u admin -- "
    await asyncio.to_thread(stop, host)
    await asyncio.to_thread(host.run, f"{other}{host.home}/bin/obproxy -p 3883 -l 3884 -s 3885 -n other -r 127.0.0.1:1")

    await discovery.perform(resources, identifier)
    assert (await server(resources)).status is UNAVAILABLE


async def stays(resources: Resources, status: ServerStatus, meanwhile: Callable[[], Awaitable[Any]]) -> None:
    assert (await server(resources)).status is status
    await meanwhile()
    assert (await server(resources)).status is status


async def rounds(resources: Resources, count: int) -> None:
    """Wait until so many rounds more have begun."""
    async with asyncio.timeout(DEADLINE):
        for _ in range(count):
            before = await began(resources)
            while await began(resources) == before:
                await asyncio.sleep(0.05)


async def began(resources: Resources) -> object:
    async with resources.database.transaction() as connection:
        row = await (await connection.execute("SELECT started FROM server_check_round")).fetchone()
    return row and row["started"]
