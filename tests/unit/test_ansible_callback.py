"""The callback plugin's report of an external run to the service: the request, and every error."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.external_runs import (
    BODY_LIMIT,
    ExternalRunClient,
    encode_run,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.service_client import RequestRejected, ServiceUnreachable

from service.access.request_signatures import SignedRequest, verify

KEY, SECRET = "0123456789abcdef", "a secret, ü"
NOT_THE_SERVICE = r"^the server at this address is not the takeover service$"


def service(url: str, time_limit: float = 30.0) -> ExternalRunClient:
    return ExternalRunClient(url=url, key=KEY, secret=SECRET, time_limit=time_limit)


@contextmanager
def http_server(status: int, body: bytes, tls: ssl.SSLContext | None = None, **headers: str) -> Iterator[str]:
    """Yield the URL of a server that sends this response to every POST."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=[0.01])  # seconds until a shutdown is noticed
        thread.start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "body"), [("/api/v2/x", b'{"a": 1}'), ("/api/v2/x?page=1&size=10", None)])
@pytest.mark.parametrize("url", ["http://192.0.2.1:8080", "https://takeover.example.com/", "http://h:1/behind/X"])
def test_the_service_accepts_the_signature(url: str, path: str, body: bytes | None) -> None:
    request = service(url).build_request(path, body)
    assert request.full_url == url.rstrip("/") + path
    assert (request.get_method(), request.get_header("Content-type")) == ("POST" if body else "GET", "application/json")

    scheme, _, credentials = str(request.get_header("Authorization")).partition(" ")
    key, _, signature = credentials.partition(":")
    received = SignedRequest(
        method=request.get_method(),
        path=urlsplit(request.full_url).path.encode(),
        query=urlsplit(request.full_url).query.encode(),
        headers=[(name.lower().encode(), value.encode()) for name, value in request.header_items()],
        body=body or b"",
    )
    assert (scheme, key) == ("OCP-ACCESS-KEY-HMACSHA1", KEY)
    assert verify(received, signature, SECRET, datetime.now(UTC))
    assert not verify(received, signature, SECRET + "x", datetime.now(UTC))
    assert SECRET not in repr(service(url))


def test_a_user_may_sign_in_with_name_and_password() -> None:
    client = ExternalRunClient(url="http://h", key="admin", secret="ü:1", time_limit=1.0, is_user=True)
    assert client.build_request("/x").get_header("Authorization") == "Basic YWRtaW46w7w6MQ=="


def test_the_answer_is_the_task_instances_id() -> None:
    with http_server(200, b'{"data": {"id": 7}}') as url:
        assert service(url).record({}) == 7


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (409, b'{"error": {"message": "Host 1 already has a running task instance: 4."}}', "Host 1 already has"),
        (502, b"<html>Bad gateway</html>", "HTTP status 502"),
        (413, b'{"error": null}', "HTTP status 413"),
        (302, b"", "HTTP status 302"),
    ],
)
def test_a_rejection_has_the_services_error_message(status: int, body: bytes, expected: str) -> None:
    with (
        http_server(status, body, Location="http://127.0.0.1:9/") as url,
        pytest.raises(RequestRejected, match=expected),
    ):
        service(url).record({})


def test_the_tls_context_decides_which_service_is_trusted(certificate: Path) -> None:
    own, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=str(certificate))
    own.load_cert_chain(certificate, certificate.parent / "key.pem")
    trusting.check_hostname = False
    with http_server(200, b'{"data": 1}', own) as url:
        assert replace(service(url), tls_context=trusting).send("/x", b"{}") == 1
        with pytest.raises(ServiceUnreachable, match="certificate verify failed"):
            service(url).send("/x", b"{}")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data": {"id": "x"}}', b'{"data": null}', b"\xff"])
def test_an_invalid_response_is_not_from_the_service(body: bytes) -> None:
    with http_server(200, body) as url, pytest.raises(ServiceUnreachable, match=NOT_THE_SERVICE):
        service(url).record({})


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"Data": 1}', b"\xff"])
def test_a_response_without_data_is_not_from_the_service(body: bytes) -> None:
    with http_server(200, body) as url, pytest.raises(ServiceUnreachable, match=NOT_THE_SERVICE):
        service(url).send("/x", b"{}")


def test_the_size_of_a_response_is_limited() -> None:
    limit = 16 * 1024**2
    with http_server(200, b'{"data": 1'.ljust(limit - 1) + b"}") as url:
        assert service(url).send("/x", b"{}") == 1
    with (
        http_server(200, b'{"data": 1'.ljust(limit) + b"}") as url,
        pytest.raises(ServiceUnreachable, match=NOT_THE_SERVICE),
    ):
        service(url).send("/x", b"{}")


def test_a_rejected_connection_is_reported() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ServiceUnreachable, match=r"refused$"):
            service(f"http://127.0.0.1:{closed.getsockname()[1]}").record({})


@pytest.mark.parametrize(
    ("response", "reason"),
    [(b"", "closed connection without response"), (b"another protocol\r\n", "^another protocol")],
)
def test_a_connection_that_is_lost_is_reported(response: bytes, reason: str) -> None:
    def answer(server: socket.socket) -> None:
        channel, _ = server.accept()
        with channel:
            channel.sendall(response)
            channel.shutdown(socket.SHUT_WR)
            while channel.recv(65536):  # a part of the request that is not read would reset the connection
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=[server])
        thread.start()
        with pytest.raises(ServiceUnreachable, match=reason):
            service(f"http://127.0.0.1:{server.getsockname()[1]}").record({})
        thread.join()


@pytest.mark.timeout(30)
def test_a_request_times_out() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ServiceUnreachable, match=r"^no answer within 0\.1 s; the service may have recorded the run$"),
    ):
        service(f"http://127.0.0.1:{silent.getsockname()[1]}", time_limit=0.1).record({})


@pytest.mark.parametrize(
    "url", ["", "takeover", "file:///etc/passwd", "http://", "http://[", "http://h:port", "http://h:0", "//h"]
)
def test_an_invalid_url_is_reported(url: str) -> None:
    with pytest.raises(ServiceUnreachable, match=r"^the URL is not an http or https address$"):
        service(url).record({})


def test_long_texts_are_truncated_until_the_body_fits() -> None:
    texts = [{"stdout": "x" * 100_000, "counter": counter} for counter in range(100)]

    body = encode_run({"events": texts})

    assert len(body) <= BODY_LIMIT
    cut = json.loads(body)["events"][99]
    assert cut["counter"] == 99 and cut["stdout"].endswith("x [cut: 96000 characters more]")
    assert json.loads(encode_run({"a": "x" * 16_000})) == {"a": "x" * 16_000}


@pytest.mark.parametrize(("count", "limit"), [(50, 16_000), (200, 4_000), (800, 1_000), (3_000, 200), (6_000, 200)])
def test_texts_are_truncated_as_little_as_possible(count: int, limit: int) -> None:
    texts = json.loads(encode_run({"texts": ["x" * 17_000] * count}))["texts"]
    assert set(texts) == {f"{'x' * limit} [cut: {17_000 - limit} characters more]"}


def test_a_body_of_the_greatest_size_is_sent_as_it_is() -> None:
    texts = ["x" * 16_000] * 56
    texts.append("y" * (BODY_LIMIT - len(encode_run({"texts": [*texts, ""]}))))
    assert json.loads(encode_run({"texts": texts})) == {"texts": texts}


def test_any_value_becomes_valid_json() -> None:
    strange: dict[Any, Any] = {1: ("\ud800", {2.5}, None, True, b"\xff"), "\udfff": 1.5}

    assert json.loads(encode_run(strange)) == {"1": ["?", "{2.5}", None, True, "b'\\xff'"], "?": 1.5}
