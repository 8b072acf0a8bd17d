"""Compression of responses: the API's larger JSON. tests/integration/test_http_events.py has the streams."""

from typing import Any

import httpx

from service.http.compression import MINIMUM_SIZE
from tests.integration.http_helpers import take_over

GZIP = {"Accept-Encoding": "gzip"}
TASKS = "/api/v2/tasks/instances"


def content(body: dict[str, Any]) -> Any:
    """Return what two equal requests have in common: not the times of the envelope."""
    return body.get("data", body)


async def test_large_json_is_compressed_if_the_caller_accepts_it(client: httpx.AsyncClient) -> None:
    (task,) = await take_over(client, 1)
    for path in (f"{TASKS}/{task['id']}", "/openapi.json"):
        compressed = await client.get(path, headers=GZIP)
        plain = await client.get(path, headers={"Accept-Encoding": "identity"})

        assert compressed.headers["content-encoding"] == "gzip"
        assert "Accept-Encoding" in compressed.headers["vary"]
        assert "content-encoding" not in plain.headers
        assert len(plain.content) > MINIMUM_SIZE
        assert content(compressed.json()) == content(plain.json())
        assert int(compressed.headers["content-length"]) < int(plain.headers["content-length"]) / 3


async def test_pages_zips_and_small_responses_are_not_compressed(client: httpx.AsyncClient) -> None:
    (task,) = await take_over(client, 1)
    page = await client.get(f"/tasks/{task['id']}", headers=GZIP)
    archive = await client.post(f"{TASKS}/{task['id']}/downloadDiagnosis", headers=GZIP)
    small = await client.get("/api/v2/info", headers=GZIP)

    assert len(page.content) > MINIMUM_SIZE
    for response in (page, archive, small):
        assert response.status_code == 200
        assert "content-encoding" not in response.headers
