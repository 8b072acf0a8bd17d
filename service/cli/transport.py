"""Requests of the client: their authentication, OCP's envelope, event streams, reconnection."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Self

import httpx
from httpx_sse import connect_sse

from service.access.request_signatures import AccessKeyAuth
from service.cli.errors import RequestRejected, ServiceUnreachable
from service.model.types import JSON

POLL_INTERVAL = 0.2  # seconds between two polls, or between two attempts to open an event stream
TIMEOUT = 30.0  # seconds for one request, and between two messages of an event stream
RECONNECT_TIMEOUT = 60.0  # seconds that the service may be unreachable while task instances are watched

Document = Mapping[str, Any]


class Transport:
    """Sends requests to the service at `url`; a context manager that closes its connections.

    With an access key it signs each request, and `password` is the key's secret.
    """

    def __init__(self, url: str, password: str, *, user: str = "admin", access_key: str | None = None) -> None:
        auth = httpx.BasicAuth(user, password) if access_key is None else AccessKeyAuth(access_key, password)
        # Reading the machine's certificates takes 27 ms.
        verify = not url.startswith("http://")
        self._http = httpx.Client(base_url=url, auth=auth, timeout=TIMEOUT, verify=verify)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def _request(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[bytes, bytes] | None = None,
    ) -> Document:
        try:
            response = self._http.request(method, path, json=body, params=query, headers=headers)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return self._data(response)

    def _data(self, response: httpx.Response) -> Document:
        """Return the data of an envelope; raise ServiceUnreachable or RequestRejected with its error."""
        try:
            envelope = response.json()
        except ValueError as error:  # no JSON, or not in UTF-8
            raise self._unreachable(error) from error
        if not isinstance(envelope, dict) or "successful" not in envelope:
            raise self._unreachable("the response has no envelope. Check the URL.")
        if not envelope["successful"]:
            unavailable = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            raise (ServiceUnreachable if unavailable else RequestRejected)(envelope["error"]["message"])
        data: Document = envelope.get("data", {})
        return data

    def _unreachable(self, reason: object) -> ServiceUnreachable:
        return ServiceUnreachable(f"No response from {self._http.base_url}: {reason}")

    def _download(self, path: str) -> bytes:
        """Return the content of a response without envelope."""
        try:
            response = self._http.post(path)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            self._data(response)
        return response.content

    def _events(self, path: str) -> Iterator[Document]:
        """Yield the data of an event stream without end; without a stream, yield {} so that the caller polls."""
        while True:
            with suppress(httpx.HTTPError), connect_sse(self._http, "GET", path) as source:
                for event in source.iter_sse() if source.response.is_success else ():
                    if event.data:  # httpx-sse yields keep-alive comments as events without data
                        yield json.loads(event.data)
            time.sleep(POLL_INTERVAL)
            yield {}


def when_reachable(read: Callable[[], Document]) -> Document:
    """Return the document; repeat the request while the service is unreachable, up to RECONNECT_TIMEOUT."""
    deadline = time.monotonic() + RECONNECT_TIMEOUT
    while True:
        try:
            return read()
        except ServiceUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_INTERVAL)
