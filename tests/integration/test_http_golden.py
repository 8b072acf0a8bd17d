"""Checks the response to OCP's sample request against the sample (tests/golden): only ids, times and names differ.

The exceptions are listed below, field by field; everything else must be equal.
"""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.http_helpers import TIME, assert_sorted

GOLDEN = Path(__file__).parent.parent / "golden"

Json = dict[str, Any]


@pytest.fixture
def sample() -> Json:
    found: Json = json.loads((GOLDEN / "takeover-sample.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
async def answer(client: httpx.AsyncClient) -> Json:
    request = (GOLDEN / "takeover-request.json").read_bytes()
    response = await client.post(
        "/api/v2/obproxy/clusters/1/takeOver", content=request, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


def task(body: Json) -> Json:
    (only,) = body["data"]["contents"]
    found: Json = only
    return found


def by_series(body: Json) -> dict[int, Json]:
    """Return the subtasks by the number that is theirs in every takeover: their order and ids are not."""
    return {subtask["seriesId"]: subtask for subtask in task(body)["subtasks"]}


def test_envelope(answer: Json, sample: Json) -> None:
    assert list(answer) == list(sample)
    assert {name: type(value) for name, value in answer.items()} == {
        name: type(value) for name, value in sample.items()
    }
    assert (answer["status"], answer["successful"]) == (sample["status"], sample["successful"])
    for body in (answer, sample):
        assert re.fullmatch("[0-9a-f]{10}", body["server"])
        assert re.fullmatch("[0-9a-f]{16}", body["traceId"])
        assert TIME.fullmatch(body["timestamp"])
    assert list(answer["data"]) == list(sample["data"])


def test_task_instance(answer: Json, sample: Json) -> None:
    ours, theirs = task(answer), task(sample)

    assert list(ours) == list(theirs)
    differing = {
        "context": theirs["context"] | {"stringMap": theirs["context"]["stringMap"] | OF_THE_REQUEST},
        "executor": ours["executor"],
        "hostId": 1,
        "id": ours["id"],
        "startTime": ours["startTime"],
        "subtasks": ours["subtasks"],
    }
    differing["context"]["stringMap"]["obproxy_server_id"] = ours["context"]["stringMap"]["obproxy_server_id"]
    assert ours == theirs | differing
    assert re.fullmatch(r"[\d.]+", ours["executor"])
    assert type(ours["id"]) is int
    assert TIME.fullmatch(ours["startTime"])
    assert ours["context"]["stringMap"]["obproxy_server_id"].isdecimal()


OF_THE_REQUEST = {"host_id": "1"}  # the sample answers host 2 to a request for host 1: docs/reference/ocp-api.md 1.2


def test_context_properties_are_in_order(answer: Json, sample: Json) -> None:
    assert list(task(answer)["context"]) == list(task(sample)["context"])


def test_subtasks(answer: Json, sample: Json) -> None:
    ours, theirs = by_series(answer), by_series(sample)
    ids = {theirs[series]["id"]: ours[series]["id"] for series in theirs}

    assert len(task(answer)["subtasks"]) == len(ours) == 12
    for series, subtask in theirs.items():
        expected = subtask | {
            "id": ids[subtask["id"]],
            "upstreams": [ids[upstream] for upstream in subtask["upstreams"]],
            "downstreams": [ids[downstream] for downstream in subtask["downstreams"]],
        }
        assert ours[series] == expected
        assert list(ours[series]) == list(subtask)


def test_all_properties_are_in_alphabetical_order(answer: Json) -> None:
    assert_sorted(answer)
