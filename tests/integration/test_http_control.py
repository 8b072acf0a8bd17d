"""Task control over HTTP: paths, responses, codes and statuses of docs/reference/ocp-api.md 2.1, 2.6."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.model.changes import HostChange
from service.model.tasks import Subtask
from service.outcome.run_progress import Changed, Ended, Logged, Started, Verdict
from service.tasks import instances
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources

TASKS = "/api/v2/tasks/instances"


async def submit(client: httpx.AsyncClient, host_id: int = 1, key: str | None = None, **more: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    body = {"hosts": [{"hostId": host_id, "sqlPort": 2883, **more}]}
    return await client.post("/api/v2/obproxy/clusters/1/takeOver", json=body, headers=headers)


@pytest.fixture
async def failed(client: httpx.AsyncClient, resources: Resources) -> tuple[int, list[Subtask]]:
    """Return a task instance whose first subtask has failed."""
    task_id = (await submit(client)).json()["data"]["contents"][0]["id"]
    _, subtasks = await instances.get(resources.database, task_id)
    role = subtasks[0].role
    await Recorder(resources, task_id).record(
        [
            Started(role=role),
            Logged(role=role, text="what it did"),
            Ended(role=role, verdict=Verdict.FAILED, code="TASK_FAILED", message="it broke"),
        ]
    )
    return task_id, subtasks


async def test_detail_lists_the_legal_operations(client: httpx.AsyncClient, failed: tuple[int, list[Subtask]]) -> None:
    detail = (await client.get(f"{TASKS}/{failed[0]}")).json()["data"]
    assert detail["operations"] == ["RETRY", "ROLLBACK"]
    assert [s["operations"] for s in detail["subtasks"][:2]] == [["RETRY", "SKIP"], []]


@pytest.mark.parametrize(("word", "operation"), [("retry", "RETRY"), ("rollback", "ROLLBACK")])
async def test_task_operations_answer_the_task(
    client: httpx.AsyncClient, failed: tuple[int, list[Subtask]], word: str, operation: str
) -> None:
    answer = await client.post(f"{TASKS}/{failed[0]}/{word}")
    assert answer.status_code == 200
    assert (answer.json()["data"]["status"], answer.json()["data"]["operation"]) == ("RUNNING", operation)

    again = await client.post(f"{TASKS}/{failed[0]}/{word}")
    assert again.status_code == 400
    assert again.json()["error"]["code"] == 4007
    assert "is RUNNING" in again.json()["error"]["message"] and "FAILED" in again.json()["error"]["message"]


async def test_retry_of_a_subtask_answers_it(client: httpx.AsyncClient, failed: tuple[int, list[Subtask]]) -> None:
    answer = await client.post(f"{TASKS}/{failed[0]}/subtasks/{failed[1][0].id}/retry")
    assert answer.status_code == 200
    assert (answer.json()["data"]["status"], answer.json()["data"]["operation"]) == ("READY", "RETRY")


async def test_skip_answers_nothing(client: httpx.AsyncClient, failed: tuple[int, list[Subtask]]) -> None:
    answer = await client.post(f"{TASKS}/{failed[0]}/subtasks/{failed[1][0].id}/skip")
    assert answer.status_code == 200 and "data" not in answer.json()


@pytest.mark.parametrize("word", ["retry", "skip", "cancel"])
async def test_subtask_operations_reject_subtasks_in_other_states(
    client: httpx.AsyncClient, failed: tuple[int, list[Subtask]], word: str
) -> None:
    answer = await client.post(f"{TASKS}/{failed[0]}/subtasks/{failed[1][1].id}/{word}")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == 4007 and "is PENDING" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["404/retry", "404/rollback", "404/downloadDiagnosis", "404/subtasks/1/skip", "{task}/subtasks/404/cancel"]
)
async def test_both_ids_are_checked(client: httpx.AsyncClient, failed: tuple[int, list[Subtask]], path: str) -> None:
    answer = await client.post(f"{TASKS}/{path.format(task=failed[0])}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, 4001)


async def test_diagnosis_is_a_zip_with_an_overview_and_a_log_for_each_execution(
    client: httpx.AsyncClient, failed: tuple[int, list[Subtask]]
) -> None:
    answer = await client.post(f"{TASKS}/{failed[0]}/downloadDiagnosis")

    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="log_task_{failed[0]}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        overview = packed.read("task_info.txt").decode().splitlines()
        first = failed[1][0]
        log = packed.read(f"subtask_{first.id}_1.log").decode()
        assert json.loads(packed.read("changes.json")) == {}
    assert len(overview) == 12
    assert overview[0].startswith(f"{first.id} FAILED - ")
    assert overview[1].startswith(f"{failed[1][1].id} PENDING {first.id} ")
    assert "what it did" in log and "it broke" in log


async def test_the_diagnosis_has_the_changes_on_the_host(
    client: httpx.AsyncClient, failed: tuple[int, list[Subtask]], resources: Resources
) -> None:
    task_id, (subtask, *_) = failed
    change = HostChange(what="parameter", name="work_thread_num", before="4", after="8", needs_restart=True)
    await Recorder(resources, task_id).record([Changed(role=subtask.role, changes=[change])])
    document = (await client.get(f"{TASKS}/{task_id}")).json()["data"]["subtasks"][0]

    answer = await client.post(f"{TASKS}/{task_id}/downloadDiagnosis")

    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        changes = json.loads(packed.read("changes.json"))
    assert changes == {str(subtask.id): document["changes"]}
    assert [(each["name"], each["before"], each["after"]) for each in document["changes"]] == [
        ("work_thread_num", "4", "8")
    ]


async def test_the_same_key_and_request_is_answered_the_same(client: httpx.AsyncClient, resources: Resources) -> None:
    first = (await submit(client, key="k-1", proxysysPasswd="p")).json()["data"]
    task_id = first["contents"][0]["id"]
    role = (await instances.get(resources.database, task_id))[1][0].role
    await Recorder(resources, task_id).record([Started(role=role)])

    assert (await submit(client, key="k-1", proxysysPasswd="p")).json()["data"] == first


@pytest.mark.parametrize("other", [{"host_id": 2}, {"proxysysPasswd": "q"}])
async def test_the_same_key_with_another_request_is_a_conflict(
    client: httpx.AsyncClient, other: dict[str, Any]
) -> None:
    await submit(client, key="k-1", proxysysPasswd="p")
    answer = await submit(client, key="k-1", **({"proxysysPasswd": "p"} | other))
    assert answer.status_code == 409 and "k-1" in answer.json()["error"]["message"]


async def test_a_key_is_free_again_after_a_day(client: httpx.AsyncClient, resources: Resources) -> None:
    await submit(client, key="k-1")
    async with resources.database.transaction() as connection:
        await connection.execute("UPDATE idempotency_key SET create_time = now() - interval '25 hours'")
    assert (await submit(client, host_id=2, key="k-1")).status_code == 200


async def test_a_rejected_request_does_not_use_its_key(client: httpx.AsyncClient) -> None:
    assert (await submit(client, host_id=99, key="k-1")).status_code == 404
    assert (await submit(client, host_id=1, key="k-1")).status_code == 200


@pytest.mark.parametrize("key", ["with space", "x" * 256, ""])
async def test_a_key_must_be_text_without_spaces(client: httpx.AsyncClient, key: str) -> None:
    body = {"hosts": [{"hostId": 1, "sqlPort": 2883}]}
    answer = await client.post("/api/v2/obproxy/clusters/1/takeOver", json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert answer.json()["error"]["subErrors"][0]["field"] == "Idempotency-Key"


async def test_detail_shows_the_blocking_task(client: httpx.AsyncClient, resources: Resources) -> None:
    first = (await submit(client, host_id=1)).json()["data"]["contents"][0]["id"]
    second = (await submit(client, host_id=2)).json()["data"]["contents"][0]["id"]
    async with resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE procrastinate_jobs SET status = 'doing' WHERE (args ->> 'task_instance_id')::bigint = %s", (first,)
        )
        assert "waitsFor" not in (await client.get(f"{TASKS}/{second}")).json()["data"]
        await connection.execute("UPDATE procrastinate_jobs SET lock = 'host-1'")

    document = (await client.get(f"{TASKS}/{second}")).json()["data"]
    assert (document["state"], document["waitsFor"]) == ("WAITING_FOR_HOST", [first])
    assert "waitsFor" not in (await client.get(f"{TASKS}/{first}")).json()["data"]
    request = (await client.get(f"/api/v2/obproxy/requests/{document['requestId']}")).json()["data"]
    assert request["hosts"][0]["state"] == "WAITING_FOR_HOST"
    assert (request["counts"]["WAITING_FOR_HOST"], request["counts"]["QUEUED"]) == (1, 0)


async def test_detail_shows_the_tasks_that_fill_the_cluster(
    client: httpx.AsyncClient, resources: Resources, inventory_file: Path
) -> None:
    first = (await submit(client, host_id=1)).json()["data"]["contents"][0]["id"]
    second = (await submit(client, host_id=2)).json()["data"]["contents"][0]["id"]
    async with resources.database.transaction() as connection:
        await connection.execute(
            "INSERT INTO run (ident, task_instance_id, executor) VALUES (gen_random_uuid(), %s, 'worker-1')", (first,)
        )
    assert (await client.get(f"{TASKS}/{second}")).json()["data"]["state"] == "QUEUED"
    text = inventory_file.read_text(encoding="utf-8")
    inventory_file.write_text(text.replace("name: test\n", "name: test\n        obproxy_allow_restart: true\n"))

    document = (await client.get(f"{TASKS}/{second}")).json()["data"]
    assert (document["state"], document["waitsFor"], document["waitsForHosts"]) == (
        *("WAITING_FOR_HOST", [first], ["odp-1"]),
    )
    assert [subtask["state"] for subtask in document["subtasks"]] == ["WAITING_FOR_HOST", *["PENDING"] * 11]
    listed = {task["id"]: task["state"] for task in (await client.get(TASKS)).json()["data"]["contents"]}
    assert listed == {first: "RUNNING", second: "WAITING_FOR_HOST"}
    request = (await client.get(f"/api/v2/obproxy/requests/{document['requestId']}")).json()["data"]
    assert request["hosts"][0]["state"] == "WAITING_FOR_HOST"
    assert request["counts"]["WAITING_FOR_HOST"] == 1
