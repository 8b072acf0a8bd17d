"""Takes over the hosts that a precheck has passed, with the ports, passwords and permissions of its request."""

from collections.abc import Sequence

from service.access.users import User
from service.model.tasks import SQL_PORT, TaskInstance
from service.store.database import fetch_as
from service.tasks import requests
from service.tasks.errors import NoHostPassed
from service.tasks.instances import TaskWithSubtasks
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over


async def passed(resources: Resources, request_id: int) -> Sequence[TaskInstance]:
    """Return the checks of a request whose hosts can be taken over now, at most a day later."""
    inventory = await resources.inventory.current()
    async with resources.database.autocommit() as connection:
        found = await fetch_as(connection, TaskInstance, "passed_checks_of_request", request_id=request_id)
    return [task for task in found if task.host_id in inventory.hosts]


async def take_over_passed(
    resources: Resources, request_id: int, *, creator: User, trace_id: str
) -> list[TaskWithSubtasks]:
    """Submit a takeover of the hosts that passed the precheck of a request. Raise as `take_over`, and NoHostPassed."""
    request = await requests.get(resources.database, request_id)
    tasks = await passed(resources, request_id)
    if not tasks:
        raise NoHostPassed(request_id=request_id)
    return await take_over(
        resources,
        request.cluster_id,
        [HostRequest(host_id=t.host_id, sql_port=int(t.context["stringMap"][SQL_PORT])) for t in tasks],
        creator=creator,
        trace_id=trace_id,
        allow_restart=tasks[0].allow_restart,
        rollout=request.rollout,
        checked={task.host_id: task.id for task in tasks},
    )
