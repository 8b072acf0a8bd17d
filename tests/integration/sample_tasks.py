"""Task instances in every state, made by functions of the service; no host is needed."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from service.access import users
from service.model.rollout import Rollout
from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Change, Ended, Logged, ServerFacts, Started, Verdict
from service.store.database import execute
from service.tasks import instances, operations, submit
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest

LOG_BY_ROLE = {
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
FAILURE = "The configuration of the agent is not valid: unknown key exporter_port."
FAILED_RULES = (
    "Rule: No parameter that acts only after a restart differs, unless a restart is permitted."
    " Found: work_thread_num is 4, desired is 8, and obproxy_allow_restart is false."
    " Fix: take the OBProxy over again and permit the restart, which obproxy_allow_restart does for the cluster or a"
    " direct run; or set obproxy_parameters to the OBProxy's values."
    " Rule: Every disk that the takeover writes to has free space. Found: /home/admin has 12 MiB free."
    " Fix: free at least 64 MiB; on a full disk OBProxy rejects ALTER."
    ' (Ansible task "Set parameters", role sync_obproxy_parameter, host odp-8)'
)

PARAMETERS: dict[str, tuple[str, list[Any]]] = {
    "work_thread_num": ("8", ["proxy work thread num, [1, 128]", True, "[1,128]", False]),
    "proxy_mem_limited": ("2G", ["proxy memory limited, [100MB, 100G]", False, "[100MB,100G]", False]),
    "enable_sharding": ("False", ["if enabled, proxy will work as a sharding proxy", False, "", False]),
    "obproxy_config_server_url": (
        "http://config-server.example.com:8080/services?Action=GetObProxyConfig&User_ID=alibaba&UID=admin",
        ["url of config info, empty means local", True, "", False],
    ),
}
"""Value and definition of the parameters that `fill_parameters` gives to an OBProxy server."""


async def fill(resources: Resources) -> dict[str, int]:
    """Make one task instance in each state, and return their ids by state."""
    ids = {}
    for host_id, state in enumerate(("done", "failed", "running", "canceling", "rolling_back", "failed_rule"), 1):
        ids[state] = await take_over(resources, host_id)
    roles = resources.workflows[TAKEOVER].roles
    await advance(resources, ids["done"], roles)
    await advance(resources, ids["failed"], roles[:6], roles[6], FAILURE)
    await operations.retry_task(resources, ids["failed"])
    await advance(resources, ids["failed"], [], roles[6], FAILURE)
    await advance(resources, ids["running"], roles[:4], running=roles[4])
    await advance(resources, ids["canceling"], roles[:5], running=roles[5])
    subtasks = await subtask_ids(resources, ids["canceling"])
    await operations.cancel_subtask(resources, ids["canceling"], subtasks[5])
    await advance(resources, ids["rolling_back"], roles[:8], roles[8], FAILURE)
    await operations.rollback_task(resources, ids["rolling_back"])
    await advance(resources, ids["rolling_back"], [roles[8], roles[7]], running=roles[6])
    await advance(resources, ids["failed_rule"], roles[:6], roles[6], FAILED_RULES)
    return ids


async def fill_parameters(resources: Resources, task_ids: Sequence[int]) -> None:
    """Let the OBProxy servers of task instances have parameters; those of the first one differ from the cluster's."""
    for number, task_id in enumerate(task_ids):
        changed = {"work_thread_num": "4"} if number == 0 else {}
        facts: dict[str, Any] = {
            "version": "4.3.1.0-1",
            "parameters": {name: value for name, (value, _) in PARAMETERS.items()} | changed,
            "parameter_definitions": {name: definition for name, (_, definition) in PARAMETERS.items()},
            "parameter_drift": [{"name": name, "expected": "8", "found": found} for name, found in changed.items()],
        }
        _, subtasks = await instances.get(resources.database, task_id)
        await Recorder(resources, task_id).record([ServerFacts(role=subtasks[0].role, values=facts)])


async def submit_request(resources: Resources, host_ids: Sequence[int], rollout: Rollout | None = None) -> list[int]:
    """Submit one request that takes hosts over, and return the ids of its task instances."""
    admin = await users.find(resources.database, users.ADMIN_NAME)
    assert admin
    wanted = [HostRequest(host_id=host_id, sql_port=2883) for host_id in host_ids]
    submitted = await submit.take_over(resources, 1, wanted, creator=admin, trace_id="", rollout=rollout)
    return [task.id for task, _ in submitted]


async def fill_requests(resources: Resources, host_ids: Sequence[int]) -> dict[str, int]:
    """Make a large request that is running, and a small one that was stopped; return their ids by state."""
    roles = resources.workflows[TAKEOVER].roles
    small, large = host_ids[:6], host_ids[6:]
    stopped = await submit_request(resources, small, Rollout(canary=1, batch_size=2))
    await advance(resources, stopped[0], roles)
    await advance(resources, stopped[1], roles[:6], roles[6], FAILED_RULES)
    await advance(resources, stopped[2], roles)
    running = await submit_request(resources, large, Rollout(batch_size=len(large) // 3, max_failures=5))
    first, second = running[: len(large) // 3], running[len(large) // 3 : 2 * len(large) // 3]
    for number, task_id in enumerate(first):
        if number % 6 == 5:
            await advance(resources, task_id, roles[:6], roles[6], FAILURE if number % 12 == 5 else FAILED_RULES)
        else:
            await advance(resources, task_id, roles)
    for task_id in second[: len(second) // 2]:
        await advance(resources, task_id, roles[:4], running=roles[4])
    (stopped_task, _), (running_task, _) = [
        await instances.get(resources.database, tasks[0]) for tasks in (stopped, running)
    ]
    assert stopped_task.request_id and running_task.request_id
    return {"stopped_request": stopped_task.request_id, "running_request": running_task.request_id}


async def take_over(resources: Resources, host_id: int) -> int:
    """Submit the takeover of a host into OBProxy cluster 1, and return the id of the task instance."""
    (task_id,) = await submit_request(resources, [host_id])
    return task_id


async def advance(
    resources: Resources, task_id: int, done: Sequence[str], failed: str = "", message: str = "", *, running: str = ""
) -> None:
    """Record the events of a run: `done` roles succeed, then one role has `failed` with a message or is `running`."""
    changes: list[Change] = []
    for role in done:
        changes += [Started(role=role), Logged(role=role, text=_log_of(role))]
        changes.append(Ended(role=role, verdict=Verdict.SUCCESSFUL, code="", message=""))
    if failed:
        changes += [Started(role=failed), Logged(role=failed, text=f"TASK [{failed} : Check]\nfatal: [odp-1]: FAILED!")]
        changes.append(Ended(role=failed, verdict=Verdict.FAILED, code="TASK_FAILED", message=message))
    if running:
        changes += [Started(role=running), Logged(role=running, text=f"TASK [{running} : Wait until it answers]")]
    await Recorder(resources, task_id).record(changes)
    async with resources.database.transaction() as connection:
        await execute(connection, "finish_runs_of_task", task_id=task_id)
        if running:
            await execute(connection, "insert_run", ident=uuid4(), task_id=task_id, executor=resources.executor)


def _log_of(role: str) -> str:
    return LOG_BY_ROLE.get(role, f"TASK [{role} : Look at the host]\nok: [odp-1] => nothing to do")


async def subtask_ids(resources: Resources, task_id: int) -> list[int]:
    """Return the ids of the subtasks in the order of the DAG."""
    async with resources.database.transaction() as connection:
        [(_, subtasks)] = await instances.by_ids(connection, [task_id])
    return [subtask.id for subtask in subtasks]
