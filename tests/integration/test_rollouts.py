"""Rollouts: hosts start in batches, stop at the limit of failures, and resume with a retry of the request."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import psycopg
import pytest

from service.model.rollout import Rollout
from service.model.workflow import RELEASE, TAKEOVER
from service.store.database import execute, fetch
from service.store.queue import HELD_QUEUE, QUEUE
from service.tasks import instances, managed_servers, operations, request_operations, requests, rollouts
from service.tasks.errors import IdempotencyKeyReused
from service.tasks.managed_servers import ServersRequest
from service.tasks.request_operations import CANCELED_MESSAGE
from service.tasks.resources import Resources
from tests.integration.http_helpers import assert_envelope, assert_failure, count_rows, take_over_body
from tests.integration.sample_tasks import advance
from tests.integration.users import ADMIN

TAKE_OVER = "/api/v2/obproxy/clusters/1/takeOver"
REQUEST = "/api/v2/obproxy/requests/1"
TASKS = "/api/v2/tasks/instances"
HOSTS = range(1, 8)
PREVIOUS_RECOVERY = """
SELECT t.id FROM task_instance t
WHERE t.status = 'RUNNING'
  AND NOT EXISTS (
      SELECT FROM procrastinate_jobs j
      WHERE j.status IN ('todo', 'doing') AND (j.args ->> 'task_instance_id')::bigint = t.id
  )
"""
Body = dict[str, Any]


@pytest.fixture(autouse=True)
def inventory(inventory_file: Any) -> None:
    """Seven hosts that may be taken over."""
    hosts = "".join(f"    odp-{n}: {{ansible_host: 192.0.2.{n}, ocp_host_id: {n}}}\n" for n in HOSTS)
    inventory_file.write_text(f"all:\n  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test}}\n  hosts:\n{hosts}")


async def submit(client: httpx.AsyncClient, **rollout: int) -> dict[int, int]:
    """Take all hosts over by a policy; return the ids of the task instances by host."""
    answer = await client.post(TAKE_OVER, json=take_over_body(*HOSTS) | {"rollout": rollout})
    assert answer.status_code == 200, answer.text
    return {task["hostId"]: task["id"] for task in answer.json()["data"]["contents"]}


async def read(client: httpx.AsyncClient) -> Body:
    data: Body = assert_envelope(await client.get(REQUEST))["data"]
    return data


async def states(client: httpx.AsyncClient) -> str:
    """Return the first letter of the state of each host."""
    return "".join(host["state"][0] for host in (await read(client))["hosts"])


async def jobs(resources: Resources, queue: str) -> list[int]:
    """Return the task instances whose jobs wait in a queue, in the order in which they are fetched."""
    async with resources.database.autocommit() as connection:
        query = "SELECT args FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = %s ORDER BY id"
        rows = await (await connection.execute(query.encode(), (queue,))).fetchall()
    return [row["args"]["task_instance_id"] for row in rows]


async def succeed(resources: Resources, *task_ids: int) -> None:
    for task_id in task_ids:
        await advance(resources, task_id, resources.workflows[TAKEOVER].roles)


async def fail(resources: Resources, *task_ids: int) -> None:
    for task_id in task_ids:
        await advance(resources, task_id, [], resources.workflows[TAKEOVER].roles[0], "It does not answer.")


async def test_the_canary_then_batches_start(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, canary=1, batchSize=4)
    found = [await states(client)]
    await succeed(resources, tasks[1])
    found.append(await states(client))
    await succeed(resources, tasks[3], tasks[2], tasks[5])
    found.append(await states(client))
    await succeed(resources, tasks[4])
    found.append(await states(client))
    await succeed(resources, tasks[6], tasks[7])
    request = await read(client)

    assert found == ["QWWWWWW", "SQQQQWW", "SSSQSWW", "SSSSSQQ"]
    assert (request["status"], request["counts"]["SUCCESSFUL"]) == ("SUCCESSFUL", 7)
    assert request["rollout"] == {"batchSize": 4, "canary": 1, "maxFailures": 0}
    assert await jobs(resources, HELD_QUEUE) == []


async def test_the_jobs_of_hosts_that_wait_are_held(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, canary=1, batchSize=4)

    assert await jobs(resources, QUEUE) == [tasks[1]]
    assert set(await jobs(resources, HELD_QUEUE)) == {tasks[host] for host in HOSTS[1:]}
    await succeed(resources, tasks[1])
    assert await jobs(resources, QUEUE) == [tasks[host] for host in (1, 2, 3, 4, 5)], "in the order of the request"


async def test_a_waiting_host_shows_its_reason(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, batchSize=2)
    waiting = (await client.get(f"{TASKS}/{tasks[7]}")).json()["data"]
    started = (await client.get(f"{TASKS}/{tasks[1]}")).json()["data"]
    listed = {task["id"]: task.get("heldBy") for task in (await client.get(TASKS)).json()["data"]["contents"]}

    assert (waiting["status"], waiting["subtasks"][0]["status"]) == ("RUNNING", "READY")
    assert (waiting["heldBy"], waiting["waitsFor"]) == ("ROLLOUT", [tasks[1], tasks[2]])
    assert waiting["operations"] == [] and "heldBy" not in started
    assert listed == {task: None if host <= 2 else "ROLLOUT" for host, task in tasks.items()}
    assert (waiting["state"], started["state"]) == ("WAITING", "QUEUED")


async def test_the_first_failure_stops_without_a_limit(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, batchSize=3)
    await fail(resources, tasks[2])
    stopped = (await states(client), (await read(client))["status"])
    await succeed(resources, tasks[1], tasks[3])
    held = (await client.get(f"{TASKS}/{tasks[7]}")).json()["data"]
    request = await read(client)

    assert stopped == ("QFQNNNN", "RUNNING"), "hosts that have started continue"
    assert (await states(client), request["status"], "finishTime" in request) == ("SFSNNNN", "STOPPED", True)
    assert (held["status"], held["heldBy"], "waitsFor" in held) == ("RUNNING", "MAX_FAILURES", False)
    assert held["state"] == "NOT_STARTED"
    assert [task["state"] for task in (await client.get(TASKS)).json()["data"]["contents"]][-3:] == [
        *("SUCCESSFUL", "FAILED", "SUCCESSFUL")
    ]
    assert await jobs(resources, QUEUE) == [tasks[1], tasks[2], tasks[3]]


async def test_as_many_failures_as_the_limit_do_not_stop(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, batchSize=3, maxFailures=2)
    await fail(resources, tasks[1], tasks[2])
    await succeed(resources, tasks[3])
    second = await states(client)
    await fail(resources, tasks[5])

    assert (second, await states(client)) == ("FFSQQQW", "FFSQFQN")


async def test_a_retry_of_the_request_resumes_in_batches_and_accepts_the_failures(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    tasks = await submit(client, batchSize=2)
    await fail(resources, tasks[1], tasks[2])

    answer = await client.post(f"{REQUEST}/retry")
    result = answer.json()["data"]
    resumed = await states(client)
    await fail(resources, tasks[1])
    await succeed(resources, tasks[2])
    next_batch = await states(client)
    await fail(resources, tasks[3])

    assert ([host["hostId"] for host in result["accepted"]], result["rejected"]) == ([*HOSTS], [])
    assert resumed == "QQWWWWW"
    assert next_batch == "FSQQWWW", "the host that fails again was accepted"
    assert await states(client) == "FSFQNNN", "a new failure is not"


async def test_a_canary_host_that_fails_again_stops_the_rollout_again(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    tasks = await submit(client, canary=2)
    await succeed(resources, tasks[1])
    await fail(resources, tasks[2])

    await client.post(f"{REQUEST}/retry")
    resumed = await states(client)
    await fail(resources, tasks[2])

    assert (resumed, await states(client)) == ("SQWWWWW", "SFNNNNN")


async def test_a_retry_without_failed_hosts_continues(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, batchSize=1)
    await fail(resources, tasks[1])
    await operations.rollback_task(resources, tasks[1])
    await advance(resources, tasks[1], [resources.workflows[TAKEOVER].roles[0]])
    stopped = await states(client)

    result = (await client.post(f"{REQUEST}/retry")).json()["data"]

    assert (stopped, await states(client)) == ("RNNNNNN", "RQWWWWW")
    assert [host["hostId"] for host in result["rejected"]] == [1]


async def test_a_retry_of_one_host_does_not_resume_the_others(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, canary=1)
    await fail(resources, tasks[1])

    assert (await client.post(f"{TASKS}/{tasks[1]}/retry")).status_code == 200
    await succeed(resources, tasks[1])

    assert (await states(client), (await read(client))["status"]) == ("SNNNNNN", "STOPPED")


async def test_a_failure_during_a_retry_counts(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, batchSize=2)
    await fail(resources, tasks[1])
    await client.post(f"{TASKS}/{tasks[1]}/retry")
    await fail(resources, tasks[1])
    await succeed(resources, tasks[2])

    assert await states(client) == "FSNNNNN"


async def test_cancel_ends_the_hosts_that_wait_and_a_retry_starts_them_in_batches(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    tasks = await submit(client, batchSize=2)
    await succeed(resources, tasks[1])

    result = (await client.post(f"{REQUEST}/cancel")).json()["data"]
    canceled = (await states(client), (await read(client))["status"])
    left = await jobs(resources, HELD_QUEUE)
    log = await client.get(f"{REQUEST}")
    await client.post(f"{REQUEST}/retry")

    assert [host["hostId"] for host in result["accepted"]] == [*HOSTS[1:]]
    assert (canceled, left) == (("SFFFFFF", "FAILED"), [])
    assert log.json()["data"]["hosts"][6]["reason"] == f"CANCELED: {CANCELED_MESSAGE}"
    assert await states(client) == "SQQWWWW"


async def test_cancel_frees_the_hosts_of_a_stopped_rollout(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, canary=1)
    await fail(resources, tasks[1])
    refused = await client.post(TAKE_OVER, json=take_over_body(7))
    await client.post(f"{REQUEST}/cancel")
    again = await client.post(TAKE_OVER, json=take_over_body(7))

    assert (refused.status_code, again.status_code) == (409, 200)
    assert await states(client) == "FFFFFFS"


async def test_hosts_that_end_at_the_same_time_start_the_next_batch_once(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    tasks = await submit(client, batchSize=3)

    await asyncio.gather(*(succeed(resources, tasks[host]) for host in (1, 2, 3)))

    assert await states(client) == "SSSQQQW"
    assert sorted(await jobs(resources, QUEUE)) == [tasks[host] for host in range(1, 7)]


async def test_an_end_that_advanced_nothing_is_found(client: httpx.AsyncClient, resources: Resources) -> None:
    """A worker of the previous version ends task instances and knows no rollouts."""
    tasks = await submit(client, batchSize=2)
    async with resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE task_instance SET status = 'SUCCESSFUL', finish_time = now() WHERE id = ANY(%s)",
            ([tasks[1], tasks[2]],),
        )
    before = await states(client)

    await rollouts.advance_all(resources.database)
    once = await states(client)
    await rollouts.advance_all(resources.database)

    assert (before, once, await states(client)) == ("SSWWWWW", "SSQQWWW", "SSQQWWW")


async def test_an_end_that_is_rolled_back_starts_nothing(client: httpx.AsyncClient, resources: Resources) -> None:
    """The end of a host and the start of the next ones are one transaction."""
    tasks = await submit(client, canary=1)
    async with resources.database.transaction() as connection:
        await connection.execute("ALTER TABLE procrastinate_jobs ADD CHECK (queue_name = 'held') NOT VALID")
    with pytest.raises(Exception, match="violates check constraint"):
        await succeed(resources, tasks[1])

    assert await states(client) == "QWWWWWW"


async def test_a_worker_of_the_previous_version_starts_no_host_that_waits(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    """It starts running task instances without a job, whose worker died; a held one has a job."""
    await submit(client, canary=1)

    async with resources.database.autocommit() as connection:
        assert await (await connection.execute(PREVIOUS_RECOVERY)).fetchall() == []


async def test_servers_of_a_cluster_start_in_batches(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, batchSize=7)
    await succeed(resources, *tasks.values())
    documents = [(await client.get(f"{TASKS}/{task_id}")).json()["data"] for task_id in tasks.values()]
    async with resources.database.autocommit() as connection:
        servers = await fetch(connection, "servers_of_clusters", cluster_ids=[1])
    request = ServersRequest(
        object_name="test",
        cluster_id=1,
        server_ids=[server["id"] for server in servers],
        rollout=Rollout(canary=1, batch_size=4),
    )

    released = await managed_servers.submit(
        resources, resources.workflows[RELEASE], request, creator=ADMIN, trace_id="t", idempotency_key="once"
    )
    first = await requests.hosts(resources.database, 2)
    await advance(resources, released[0][0].id, resources.workflows[RELEASE].roles)
    second = await requests.hosts(resources.database, 2)

    assert {document["status"] for document in documents} == {"SUCCESSFUL"}
    assert [host.state[0] for host in first] == list("QWWWWWW")
    assert [host.state[0] for host in second] == list("SQQQQWW")
    with pytest.raises(IdempotencyKeyReused):
        await managed_servers.submit(
            resources,
            resources.workflows[RELEASE],
            replace(request, rollout=None),
            creator=ADMIN,
            trace_id="t",
            idempotency_key="once",
        )


async def test_a_policy_does_not_change_how_a_repeated_call_is_answered(client: httpx.AsyncClient) -> None:
    body, key = take_over_body(1, 2) | {"rollout": {"canary": 1}}, {"Idempotency-Key": "once"}
    first, again = [await client.post(TAKE_OVER, json=body, headers=key) for _ in range(2)]
    other = await client.post(TAKE_OVER, json=take_over_body(1, 2), headers=key)

    assert first.json()["data"] == again.json()["data"]
    assert other.status_code == 409


async def test_hosts_that_wait_are_not_counted_as_running(client: httpx.AsyncClient, resources: Resources) -> None:
    tasks = await submit(client, batchSize=2)
    first = (await client.get("/metrics")).text
    await fail(resources, tasks[1])
    second = (await client.get("/metrics")).text

    assert 'takeover_task_instances{status="RUNNING"} 2.0' in first
    assert 'takeover_task_instances_held{reason="ROLLOUT"} 5.0' in first
    assert 'takeover_task_instances_held{reason="MAX_FAILURES"} 5.0' in second
    assert 'takeover_task_instances{status="RUNNING"} 1.0' in second


@pytest.mark.parametrize(
    ("rollout", "field", "message"),
    [
        ({}, "rollout", "rollout must have canary or batchSize; it is an object."),
        ({"maxFailures": 3}, "rollout", "rollout must have canary or batchSize; it is an object."),
        ({"batchSize": 0}, "rollout.batchSize", "rollout.batchSize must be at least 1; it is 0."),
        ({"canary": -1}, "rollout.canary", "rollout.canary must be at least 0; it is -1."),
        ({"canary": 1, "maxFailures": -1}, "rollout.maxFailures", "rollout.maxFailures must be at least 0; it is -1."),
        ({"canary": "one"}, "rollout.canary", 'rollout.canary must be an integer; it is "one".'),
        ({"canary": 1, "batchsize": 2}, "rollout.batchsize", "rollout.batchsize is not a known field; it is 2."),
        ([], "rollout", "rollout must be an object; it is a list."),
    ],
)
async def test_an_invalid_policy_is_rejected(
    client: httpx.AsyncClient, resources: Resources, rollout: object, field: str, message: str
) -> None:
    before = await count_rows(resources)

    answer = await client.post(TAKE_OVER, json=take_over_body(1, 2) | {"rollout": rollout})

    failure = assert_failure(answer)
    assert (answer.status_code, failure.error.message) == (400, message)
    assert [error.field for error in failure.error.subErrors or ()] == [field]
    assert await count_rows(resources) == before


async def test_numbers_as_text_and_a_null_are_accepted(client: httpx.AsyncClient) -> None:
    first = await client.post(TAKE_OVER, json=take_over_body(1, 2) | {"rollout": {"batchSize": "1"}})
    second = await client.post(TAKE_OVER, json=take_over_body(3, 4) | {"rollout": None})

    assert (first.status_code, second.status_code) == (200, 200)
    assert (await read(client))["counts"]["WAITING"] == 1
    assert "rollout" not in (await client.get("/api/v2/obproxy/requests/2")).json()["data"]


@pytest.mark.parametrize(("limit", "found"), [(0, "FQNNNNN"), (1, "FQWWWWW")])
async def test_a_canceled_host_counts_as_failed_at_once(
    client: httpx.AsyncClient, resources: Resources, limit: int, found: str
) -> None:
    """Without a worker, whose recovery does it later."""
    tasks = await submit(client, batchSize=2, maxFailures=limit)

    assert await request_operations.cancel_tasks(resources, [tasks[1]]) == {}

    assert await states(client) == found


async def test_the_next_batch_starts_when_the_hosts_before_are_canceled(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    tasks = await submit(client, batchSize=2, maxFailures=7)

    assert await request_operations.cancel_tasks(resources, [tasks[1], tasks[2], tasks[6]]) == {}

    assert await states(client) == "FFQQWFW"


async def of_two_requests(client: httpx.AsyncClient) -> tuple[list[int], list[int]]:
    """Take hosts over by two requests, of which the second has another policy; return their task instances."""
    tasks: list[list[int]] = []
    for hosts, rollout in (((3, 1, 2, 4, 5), {"canary": 1, "batchSize": 1}), ((6, 7), {"batchSize": 1})):
        answer = await client.post(TAKE_OVER, json=take_over_body(*hosts) | {"rollout": rollout})
        assert answer.status_code == 200, answer.text
        found = {task["hostId"]: task["id"] for task in answer.json()["data"]["contents"]}
        tasks.append([found[host] for host in hosts])
    return tasks[0], tasks[1]


async def set_state(
    resources: Resources, task_id: int, held_by: str | None, status: str = "RUNNING", *, accepted: bool = False
) -> None:
    async with resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE task_instance SET held_by = %s, status = %s::task_status, failure_accepted = %s,"
            " finish_time = CASE WHEN %s THEN now() END WHERE id = %s",
            (held_by, status, accepted or None, status != "RUNNING", task_id),
        )


async def held_by(resources: Resources, task_ids: Sequence[int]) -> list[str | None]:
    return [(await instances.get(resources.database, task_id))[0].held_by for task_id in task_ids]


async def test_the_progress_of_a_rollout_is_counted_by_the_states_of_its_hosts(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    first, second = await of_two_requests(client)
    await set_state(resources, first[0], None)
    await set_state(resources, first[3], None, "FAILED")
    await set_state(resources, first[4], None, "FAILED", accepted=True)
    await set_state(resources, second[0], "MAX_FAILURES")
    await set_state(resources, second[1], None, "SUCCESSFUL")

    async with resources.database.autocommit() as connection:
        found = [
            (await fetch(connection, "rollout_progress", request_id=request_id, canary=2))[0] for request_id in (1, 2)
        ]
        running = [
            [row["id"] for row in await fetch(connection, "running_tasks_of_request", request_id=request_id)]
            for request_id in (1, 2)
        ]
        waiting = [row["request_id"] for row in await fetch(connection, "requests_with_held_tasks")]
    assert found == [
        {"held": 2, "held_canary": 1, "stopped": 0, "running": 1, "failed": 1},
        {"held": 0, "held_canary": 0, "stopped": 1, "running": 0, "failed": 0},
    ]
    assert (running, waiting) == ([[first[0]], []], [1])


async def test_requests_and_their_hosts_are_read_in_order(client: httpx.AsyncClient, resources: Resources) -> None:
    first, _ = await of_two_requests(client)
    await set_state(resources, first[1], None)
    async with resources.database.autocommit() as connection:
        waiting = [row["request_id"] for row in await fetch(connection, "requests_with_held_tasks")]
        running = [row["id"] for row in await fetch(connection, "running_tasks_of_request", request_id=1)]
    assert (waiting, running) == ([1, 2], sorted(first[:2]))


async def test_the_first_held_hosts_of_a_request_start_in_its_order(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    first, second = await of_two_requests(client)
    async with resources.database.transaction() as connection:
        rows = await fetch(connection, "start_held_tasks", request_id=1, number=2, canary=0)
        ids = [row["id"] for row in rows]
        await execute(connection, "start_held_jobs", task_ids=[first[0], *ids], held_queue=HELD_QUEUE, queue=QUEUE)
    assert ids == first[1:3]
    assert await held_by(resources, first) == [None, None, None, "ROLLOUT", "ROLLOUT"]
    assert await held_by(resources, second) == [None, "ROLLOUT"]
    assert await jobs(resources, QUEUE) == [first[0], second[0], *first[1:3]]
    assert set(await jobs(resources, HELD_QUEUE)) == {*first[3:], second[1]}


async def test_a_held_job_that_has_ended_is_not_started(client: httpx.AsyncClient, resources: Resources) -> None:
    first, _ = await of_two_requests(client)
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE queue_name = 'held'")
        await connection.execute("UPDATE procrastinate_jobs SET status = 'failed' WHERE queue_name = 'held'")
        before = await jobs(resources, QUEUE)
        await execute(connection, "start_held_jobs", task_ids=first, held_queue=HELD_QUEUE, queue=QUEUE)
    assert await jobs(resources, QUEUE) == before


async def test_a_rollout_that_stops_and_resumes_leaves_other_requests_alone(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    first, second = await of_two_requests(client)
    await set_state(resources, second[0], None, "FAILED")

    await rollouts.stop(resources.database, 1)
    assert await held_by(resources, first) == [None, *["MAX_FAILURES"] * 4]
    assert await held_by(resources, second) == [None, "ROLLOUT"]
    await rollouts.stop(resources.database, 2)
    await rollouts.resume(resources.database, 1)
    assert await held_by(resources, first) == [None, *["ROLLOUT"] * 4]
    assert await held_by(resources, second) == [None, "MAX_FAILURES"]
    async with resources.database.transaction() as connection:
        cursor = await connection.execute("SELECT id FROM task_instance WHERE failure_accepted")
        assert await cursor.fetchall() == [], "only a failed host of the request itself"


async def test_a_request_is_locked_by_its_id_and_only_with_a_policy(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    assert (await client.post(TAKE_OVER, json=take_over_body(1))).status_code == 200
    for host, canary in ((2, 0), (3, 1)):
        body = take_over_body(host) | {"rollout": {"batchSize": 1, "canary": canary}}
        assert (await client.post(TAKE_OVER, json=body)).status_code == 200
    async with resources.database.transaction() as connection:
        found = [await rollouts.lock(connection, request_id) for request_id in (1, 2, 3)]
        with pytest.raises(psycopg.errors.LockNotAvailable):
            async with resources.database.transaction() as other:
                await other.execute("SET LOCAL lock_timeout = '50ms'")
                assert await rollouts.lock(other, 1) is None
                await rollouts.lock(other, 3)
    assert [policy and policy.canary for policy in found] == [None, 0, 1]
