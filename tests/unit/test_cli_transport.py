"""Responses that the client gets, and requests that it sends."""

import json
import ssl
from typing import Any

import httpx
import pytest

from service.cli.client import Client
from service.cli.errors import RequestRejected, ServiceUnreachable

URL = "http://127.0.0.1:1"


def client(content: bytes, sent: list[httpx.Request] | None = None) -> Client:
    """Return a client whose requests get a response with `content`; `sent` collects them."""

    def respond(request: httpx.Request) -> httpx.Response:
        if sent is not None:
            sent.append(request)
        return httpx.Response(400, content=content)

    made = Client(URL, "")
    made._http = httpx.Client(base_url=URL, transport=httpx.MockTransport(respond))
    return made


@pytest.mark.parametrize(("url", "modes"), [(URL, set()), ("https://127.0.0.1:1", {ssl.CERT_REQUIRED})])
def test_certificates_are_read_for_https_only(
    monkeypatch: pytest.MonkeyPatch, url: str, modes: set[ssl.VerifyMode]
) -> None:
    create, made = ssl.create_default_context, []

    def recorded(**options: Any) -> ssl.SSLContext:
        made.append(create(**options))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", recorded)
    with Client(url, ""):
        assert {context.verify_mode for context in made} == modes


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'"text"', b'{"status": "error"}', b'"\xe9"', b""])
def test_a_response_of_another_program_is_reported_with_the_url(content: bytes) -> None:
    with pytest.raises(ServiceUnreachable, match=URL):
        client(content).task(1)


@pytest.mark.parametrize("name", ["id", "hostId"])
def test_an_element_that_moves_to_the_next_page_is_listed_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pages = {1: [3, 2], 2: [2, 1]}  # 4 was added after the first page was read

    def page(_: Client, path: str, number: int, size: int, **query: object) -> dict[str, object]:
        return {"contents": [{name: id} for id in pages[number]], "page": {"totalPages": 2}}

    monkeypatch.setattr(Client, "page", page)
    found = Client(URL, "").all("/list")

    assert found["contents"] == [{name: 3}, {name: 2}, {name: 1}]
    assert found["page"]["totalElements"] == 3


def test_an_idempotency_key_that_is_not_ascii_reaches_the_service() -> None:
    sent: list[httpx.Request] = []
    envelope = json.dumps({"successful": False, "error": {"message": "Idempotency-Key must be ASCII."}}).encode()

    with pytest.raises(RequestRejected, match="must be ASCII"):
        client(envelope, sent).take_over(1, [], "Schlüssel")

    assert dict(sent[0].headers.raw)[b"Idempotency-Key"] == "Schlüssel".encode()
