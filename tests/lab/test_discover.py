"""Discover hosts in many states: what runs there, and what prevents a takeover. Nothing on them changes."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from service.fleet import discoveries
from service.fleet.discoveries import DiscoveryState, HostDiscovery
from service.model.settings import Settings
from service.tasks.resources import Resources, open_resources
from service.tasks.submit import HostRequest, take_over
from service.worker import worker

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .states import DEFAULT_VERSION
from .test_checks import ADMIN, RUNNING, until
from .test_precheck import assert_same, whole

DEADLINE = 120.0  # seconds of all discoveries, on a machine that runs other tests
DISCOVERED = DiscoveryState.DISCOVERED
OF_NOBODY = (
    "install -d -o nobody /tmp/theirs && cd /tmp/theirs && runuser -u nobody -- "
    "{home}/bin/obproxy -p {port} -l 3884 -s 3885 -n theirs -r 127.0.0.1:2881 -c theirs"
)


@pytest.fixture
async def resources(lab: Lab) -> AsyncIterator[Resources]:
    """Yield a service with a worker."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="discover-"))
        settings = Settings(inventory=lab.inventory, data_dir=Path(directory) / "data", server_check_interval=0)
        opened = await stack.enter_async_context(open_resources(settings))
        await stack.enter_async_context(worker.running(opened))
        yield opened


async def discovered(resources: Resources, hosts: Sequence[LabHost]) -> list[HostDiscovery]:
    ids = [host.host_id for host in hosts]
    found = await discoveries.request(resources, ids, requester=ADMIN)
    assert {each.state for each in found} == {DiscoveryState.PENDING}
    known = [each.host for each in found]
    async with asyncio.timeout(DEADLINE):
        while any(each.state is DiscoveryState.PENDING for each in found):
            await asyncio.sleep(0.1)
            found = await discoveries.of_hosts(resources, known)
    return found


async def test_hosts_in_many_states(lab: Lab, resources: Resources, lab_host: StartHost) -> None:
    managed, running, two, stopped, denied, gone = (
        lab_host(state) for state in ("running", "running", "foreign", "stopped", "wrong-password", "unreachable")
    )
    free = lab_host(cluster=None)
    await take_over(
        resources, 1, [HostRequest(host_id=managed.host_id, sql_port=managed.sql_port)], creator=ADMIN, trace_id="t"
    )
    await until(resources, lambda found: found.status is RUNNING)
    before = await asyncio.to_thread(whole, lab, running)

    found = await discovered(resources, [managed, running, two, stopped, denied, gone, free])

    of = {each.host.id: each for each in found}
    (its,) = of[managed.host_id].obproxies
    assert its.server is not None and its.server.cluster_name == "test" and its.rules == []
    assert (its.managed_by, its.managed_cluster) == ("obproxy-takeover", "test")

    assert of[running.host_id].state is DISCOVERED and not of[running.host_id].rules
    (its,) = of[running.host_id].obproxies
    assert (its.sql_port, its.pid) == (running.sql_port, await asyncio.to_thread(running.proxy_pid))
    assert (its.version, its.server, its.rules) == (DEFAULT_VERSION, None, [])
    assert its.supervisor == "obproxyd.sh" and its.package and its.owner == "admin" and not its.needs_password

    assert [(each.sql_port, each.app_name) for each in of[two.host_id].obproxies] == [(2883, "test"), (3883, "other")]
    for its in of[two.host_id].obproxies:
        (rule,) = [each for each in its.rules if each.rule == "Exactly one OBProxy process runs on the host."]
        assert rule.found.startswith("2 of them") and rule.fix.startswith("stop the one")

    assert (of[stopped.host_id].state, of[stopped.host_id].obproxies) == (DISCOVERED, [])
    (rule,) = of[stopped.host_id].rules
    assert rule.rule == "An OBProxy listens on the SQL port." and rule.found.startswith("port 2883 is held by no")

    (its,) = of[denied.host_id].obproxies
    assert its.needs_password and its.rules == []

    assert of[gone.host_id].state is DiscoveryState.UNREACHABLE and of[gone.host_id].obproxies == []
    assert of[gone.host_id].rules[0].fix and of[gone.host_id].message

    (its,) = of[free.host_id].obproxies
    assert its.rules == [], "a host may be in no cluster of the inventory"

    assert_same(before, await asyncio.to_thread(whole, lab, running))


async def test_the_process_of_another_user_gets_no_password(resources: Resources, lab_host: StartHost) -> None:
    """At another port than the host's own, and at that one while the host's OBProxy is stopped."""
    running, stopped = lab_host("running"), lab_host("stopped")
    await asyncio.to_thread(running.run, OF_NOBODY.format(home=running.home, port=3883))
    await asyncio.to_thread(stopped.run, OF_NOBODY.format(home=stopped.home, port=2883))

    beside, instead = await discovered(resources, [running, stopped])

    ours, theirs = beside.obproxies
    assert (ours.sql_port, ours.login) == (2883, "cluster")
    assert (theirs.sql_port, theirs.owner, theirs.login) == (3883, "nobody", "untried")
    (theirs,) = instead.obproxies
    assert (theirs.sql_port, theirs.owner, theirs.login) == (2883, "nobody", "untried")
