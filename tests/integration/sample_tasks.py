"""Task instances in every state for the pages, made through the service's functions, without a host."""

from collections.abc import Sequence

from service.access import users
from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Change, Ended, Logged, Started, Verdict
from service.tasks import instances, operations, submit
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest

RAN = {
    "prepare_obproxy_install": """\
TASK [prepare_obproxy_install : Assert that exactly one OBProxy runs at the SQL port]
ok: [odp-1] => All assertions passed
TASK [prepare_obproxy_install : Show what was found]
ok: [odp-1] => obproxy 4.3.1.0-1 · pid 4711 · /opt/taobao/install/obproxy-4.3.1.0 · owner admin · config_url""",
    "sync_obproxy_parameter": """\
TASK [sync_obproxy_parameter : Set what differs]
changed: [odp-1] => proxy_mem_limited: 2G -> 4G, enable_strict_kernel_release: True -> False
TASK [sync_obproxy_parameter : Read back]
ok: [odp-1]""",
}
FAILURE = (
    "Parameter work_thread_num is 4, wished is 8: it acts after a restart only, and obproxy_allow_restart is false."
)


async def fill(resources: Resources) -> dict[str, int]:
    """Return the ids of task instances by their state."""
    ids = {}
    for host_id, what in enumerate(("done", "failed", "running", "canceling", "backing"), 1):
        ids[what] = await take_over(resources, host_id)
    roles = resources.workflows[TAKEOVER].roles
    await advance(resources, ids["done"], roles)
    await advance(resources, ids["failed"], roles[:6], roles[6], FAILURE)
    await operations.retry_task(resources, ids["failed"])
    await advance(resources, ids["failed"], [], roles[6], FAILURE)
    await advance(resources, ids["running"], roles[:4], running=roles[4])
    await advance(resources, ids["canceling"], roles[:5], running=roles[5])
    subtasks = await subtask_ids(resources, ids["canceling"])
    await operations.cancel_subtask(resources, ids["canceling"], subtasks[5])
    await advance(resources, ids["backing"], roles[:8], roles[8], "The agent's configuration cannot be validated.")
    await operations.rollback_task(resources, ids["backing"])
    await advance(resources, ids["backing"], [roles[8], roles[7]], running=roles[6])
    return ids


async def take_over(resources: Resources, host_id: int) -> int:
    """Submit a takeover of a host into OBProxy cluster 1; return the id of the task instance."""
    admin = await users.find(resources.database, users.ADMIN_NAME)
    assert admin
    wanted = [HostRequest(host_id=host_id, sql_port=2883)]
    submitted = await submit.take_over(resources, 1, wanted, creator=admin, trace_id="")
    return submitted[0][0].id


async def advance(
    resources: Resources, task_id: int, done: Sequence[str], failed: str = "", message: str = "", *, running: str = ""
) -> None:
    """Record a run: `done` roles have succeeded; then one has `failed` with a message, or one is `running`."""
    changes: list[Change] = []
    for role in done:
        changes += [Started(role=role), Logged(role=role, text=_said(role))]
        changes.append(Ended(role=role, verdict=Verdict.SUCCESSFUL, code="", message=""))
    if failed:
        changes += [Started(role=failed), Logged(role=failed, text=f"TASK [{failed} : Check]\nfatal: [odp-1]: FAILED!")]
        changes.append(Ended(role=failed, verdict=Verdict.FAILED, code="TASK_FAILED", message=message))
    if running:
        changes += [Started(role=running), Logged(role=running, text=f"TASK [{running} : Wait until it answers]")]
    await Recorder(resources.database, task_id, resources.executor).record(changes)


def _said(role: str) -> str:
    return RAN.get(role, f"TASK [{role} : Look at the host]\nok: [odp-1] => nothing to do")


async def subtask_ids(resources: Resources, task_id: int) -> list[int]:
    """Return the ids of the subtasks in DAG order."""
    async with resources.database.transaction() as connection:
        [(_, subtasks)] = await instances.by_ids(connection, [task_id])
    return [subtask.id for subtask in subtasks]
