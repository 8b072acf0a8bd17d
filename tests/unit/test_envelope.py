"""The envelope of success and failure, and which status and headers each way to fail gets."""

import logging
import re
import socket
import subprocess
import sys
from datetime import datetime

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from service.http import envelope, error_handlers
from service.http.envelope import STATUS_CODES, TraceIdMiddleware, page_data, success_response
from service.http.error_handlers import EXCEPTION_HANDLERS
from service.model.errors import InvalidRequest, Kind, SubError, TakeoverError, UnknownHost
from service.model.types import JSON, Page


def client(*routes: Route, traced: bool = True) -> httpx.AsyncClient:
    middleware = [Middleware(TraceIdMiddleware)] if traced else []
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=EXCEPTION_HANDLERS)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


def raising(error: Exception) -> Route:
    async def endpoint(request: Request) -> Response:
        raise error

    return Route("/", endpoint)


def answering(data: JSON | None) -> Route:
    async def endpoint(request: Request) -> Response:
        return success_response(request, data)

    return Route("/", endpoint)


async def test_success_has_the_samples_keys_in_its_order() -> None:
    async with client(answering({"contents": ["é"]})) as http:
        answer = await http.get("/")

    body = answer.json()
    assert answer.status_code == body["status"] == 200
    assert list(body) == ["data", "duration", "server", "status", "successful", "timestamp", "traceId"]
    assert body["data"] == {"contents": ["é"]}
    assert body["successful"] is True
    assert type(body["duration"]) is int
    assert re.fullmatch("[0-9a-f]{10}", body["server"])
    assert re.fullmatch("[0-9a-f]{16}", body["traceId"])
    assert abs(datetime.now().astimezone() - datetime.fromisoformat(body["timestamp"])).total_seconds() < 60
    assert answer.headers["content-type"] == "application/json"
    assert "é" in answer.text
    assert ": " not in answer.text


async def test_no_data_is_left_out() -> None:
    async with client(answering(None)) as http:
        assert "data" not in (await http.get("/")).json()


def test_the_server_is_the_same_in_every_process_of_a_host() -> None:
    program = [sys.executable, "-c", "from service.http.envelope import SERVER_ID; print(SERVER_ID)"]
    other = subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()

    assert other == envelope.SERVER_ID
    assert socket.gethostname() not in envelope.SERVER_ID


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("c9c73aea31764206", True),
        ("C9C73AEA31764206", True),
        ("c9c73aea3176420", False),
        ("c9c73aea317642060", False),
        ("c9c73aea3176420 ", False),
        ("'; DROP TABLE --", False),
        ("", False),
    ],
)
async def test_the_callers_trace_id_is_kept_when_it_is_one(sent: str, kept: bool) -> None:
    async with client(answering(None)) as http:
        answered = (await http.get("/", headers={"X-Trace-Id": sent})).json()["traceId"]

    assert (answered == sent.strip().lower()) is kept
    assert re.fullmatch("[0-9a-f]{16}", answered)


async def test_a_failure_has_ocps_shape() -> None:
    sub_errors = [
        SubError(field="a", message="a is required.", object="o"),
        SubError(field="b", message="b must be an integer.", object="o", rejected_value=2**53),
        SubError(field="c", message="c must be an integer.", object="o", rejected_value=False),
        SubError(field="d", message="d must be an integer.", object="o", rejected_value=2**53 - 1),
    ]
    async with client(raising(InvalidRequest(sub_errors))) as http:
        answer = await http.get("/")

    body = answer.json()
    assert answer.status_code == body["status"] == 400
    assert list(body) == ["duration", "error", "server", "status", "successful", "timestamp", "traceId"]
    assert body["successful"] is False
    assert body["error"] == {
        "code": 0,
        "message": "a is required.",
        "subErrors": [
            {"field": "a", "message": "a is required.", "object": "o"},
            {"field": "b", "message": "b must be an integer.", "object": "o", "rejectedValue": "9007199254740992"},
            {"field": "c", "message": "c must be an integer.", "object": "o", "rejectedValue": False},
            {"field": "d", "message": "d must be an integer.", "object": "o", "rejectedValue": 9007199254740991},
        ],
    }


async def test_a_failure_without_bad_fields_has_no_sub_errors() -> None:
    async with client(raising(UnknownHost(host_id=7))) as http:
        body = (await http.get("/")).json()

    assert body["status"] == 404
    assert body["error"] == {"code": 7005, "message": "Host 7 does not exist in the inventory."}


async def test_a_request_rejected_before_tracing_has_no_trace_id() -> None:
    async with client(raising(UnknownHost(host_id=7)), traced=False) as http:
        body = (await http.get("/", headers={"x-trace-id": "c9c73aea31764206"})).json()

    assert (body["duration"], body["traceId"]) == (0, "")


@pytest.mark.parametrize("kind", Kind)
async def test_every_kind_has_its_status(kind: Kind) -> None:
    class SampleError(TakeoverError):
        """No."""

    SampleError.kind = kind
    async with client(raising(SampleError())) as http:
        answer = await http.get("/")

    assert answer.status_code == STATUS_CODES[kind]
    assert answer.json()["error"] == {"code": 0, "message": "No."}


async def test_a_fault_names_its_type_and_logs_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    async with client(raising(RuntimeError("secret detail"))) as http:
        answer = await http.get("/", headers={"x-trace-id": "c9c73aea31764206"})

    body = answer.json()
    assert answer.status_code == body["status"] == 500
    assert body["error"] == {"code": 0, "message": "Unexpected error: RuntimeError."}
    assert body["traceId"] == "c9c73aea31764206"
    assert "secret detail" not in answer.text
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "c9c73aea31764206" in record.getMessage()
    assert record.exc_info is not None
    assert "secret detail" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_disconnected_caller_is_not_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, logger=error_handlers.log.name),
        caplog.filtering(logging.Filter(error_handlers.log.name)),
    ):
        async with client(raising(ClientDisconnect())) as http:
            assert (await http.get("/")).status_code == 400

    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.exc_info is None


async def nothing(request: Request) -> Response:
    return success_response(request)


BOTH = (Route("/a/{id}", nothing, methods=["GET"]), Route("/a/{id}", nothing, methods=["DELETE", "PUT"]))


@pytest.mark.parametrize("method", ["POST", "PATCH", "TRACE", "BREW"])
async def test_another_method_gets_the_allowed_ones(method: str) -> None:
    async with client(*BOTH) as http:
        answer = await http.request(method, "/a/1")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PUT"
    assert answer.json()["error"] == {
        "code": 1008,
        "message": f"{method} is not supported at /a/1; allowed: DELETE, GET, HEAD, OPTIONS, PUT.",
    }


async def test_options_lists_the_methods() -> None:
    async with client(*BOTH) as http:
        answer = await http.options("/a/1")

    assert (answer.status_code, answer.headers["allow"], answer.content) == (
        204,
        "DELETE, GET, HEAD, OPTIONS, PUT",
        b"",
    )


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", ["/b", "/a", "/a/", "//a/1", "/a/1/2", "/A/1", "/%00"])
async def test_another_path_is_not_found(method: str, path: str) -> None:
    async with client(*BOTH) as http:
        answer = await http.request(method, path)

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == 1002


@pytest.mark.parametrize("host", [b"[", b"a b", b"a:b:c", b"]:1", b"\xe9", b"%", b""])
async def test_a_garbled_host_header_does_no_harm(host: bytes) -> None:
    async with client(*BOTH) as http:
        for path, status in (("/b", 404), ("/a/1", 405)):
            assert (await http.post(path, headers={b"Host": host})).status_code == status


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (10, 1), (11, 2), (100_000, 10_000)])
def test_counts_pages(total: int, pages: int) -> None:
    assert page_data([], Page(number=3, size=10), total)["page"] == {
        "number": 3,
        "size": 10,
        "totalElements": total,
        "totalPages": pages,
    }
