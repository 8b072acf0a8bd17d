"""Takes over the hosts that a precheck has passed, with the ports, passwords and permissions of its request."""

from service.access.users import User
from service.model.tasks import SQL_PORT, TaskInstance, TaskStatus
from service.store.database import fetch_as
from service.tasks import requests
from service.tasks.errors import NoHostPassed
from service.tasks.instances import TaskWithSubtasks
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest, take_over


async def take_over_passed(
    resources: Resources, request_id: int, *, creator: User, trace_id: str
) -> list[TaskWithSubtasks]:
    """Submit a takeover of the hosts that passed the precheck of a request. Raise as `take_over`, and NoHostPassed."""
    request = await requests.get(resources.database, request_id)
    async with resources.database.autocommit() as connection:
        tasks = await fetch_as(connection, TaskInstance, "tasks_of_request", request_id=request_id)
    passed = [
        task for task in tasks if task.is_check and task.status is TaskStatus.SUCCESSFUL and task.superseded_by is None
    ]
    if not passed:
        raise NoHostPassed(request_id=request_id)
    return await take_over(
        resources,
        request.cluster_id,
        [HostRequest(host_id=t.host_id, sql_port=int(t.context["stringMap"][SQL_PORT])) for t in passed],
        creator=creator,
        trace_id=trace_id,
        allow_restart=passed[0].allow_restart,
        rollout=request.rollout,
        checked={task.host_id: task.id for task in passed},
    )
