"""HTTP client of a running service."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Self

import httpx
from httpx_sse import connect_sse

from service.access.request_signatures import AccessKeyAuth
from service.model.types import JSON

POLL_INTERVAL = 0.2  # seconds between two polls, or between two attempts to open an event stream
TIMEOUT = 30.0  # seconds for one request, and between two messages of an event stream
RECONNECT_TIMEOUT = 60.0  # seconds that the service may be unreachable while task instances are watched
HOSTS_LIMIT = 2000  # hosts in one response

Document = Mapping[str, Any]


class ClientError(Exception):
    """An error that the user can correct; the text is one sentence, often the service's error message.

    `exit_status` is that of the command: docs/operators.md, "Exit statuses".
    """

    exit_status: ClassVar[int] = 1


class InvalidUsage(ClientError):
    """The options or arguments of a command are invalid, or a file that they name cannot be read."""

    exit_status = 2


class ServiceUnreachable(ClientError):
    """The service did not send a valid response."""

    exit_status = 3


class RequestRejected(ClientError):
    """The service has rejected a request, or does not have what it names."""

    exit_status = 4


class Client:
    """Calls the service at `url`; a context manager that closes its connections.

    With an access key it signs each request, and `password` is the key's secret.
    """

    def __init__(self, url: str, password: str, *, user: str = "admin", access_key: str | None = None) -> None:
        auth = httpx.BasicAuth(user, password) if access_key is None else AccessKeyAuth(access_key, password)
        self._http = httpx.Client(base_url=url, auth=auth, timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def take_over(
        self,
        cluster_id: int,
        hosts: Sequence[JSON],
        key: str | None = None,
        *,
        allow_restart: bool | None = None,
        rollout: JSON | None = None,
        check: bool = False,
    ) -> list[Document]:
        """Submit a takeover and return its task instances, one per host. With `check`, it is only checked.

        `key` is the idempotency key: the service executes requests with the same key once. `allow_restart` allows or
        forbids a restart; None = the setting of the OBProxy cluster applies. `rollout` is the policy by which hosts
        start; None = all at once.
        """
        permission = {} if allow_restart is None else {"allowRestart": allow_restart}
        body = {"hosts": list(hosts), **permission, **_policy(rollout)}
        return self._submit(cluster_id, "takeOver/precheck" if check else "takeOver", body, key)

    def release(
        self, cluster_id: int, server_ids: Sequence[int], skip_host_ids: Sequence[int] = (), key: str | None = None
    ) -> list[Document]:
        """Release OBProxy servers and return the task instances, one per server.

        The hosts of `skip_host_ids` are gone: their servers are only forgotten. `key` is the idempotency key.
        """
        body = {"obproxyServerIds": list(server_ids), "skipHostOperationServerIds": list(skip_host_ids)}
        return self._submit(cluster_id, "servers/release", body, key)

    def refresh(
        self, cluster_id: int, server_ids: Sequence[int], key: str | None = None, *, rollout: Document | None = None
    ) -> list[Document]:
        """Set OBProxy servers to their cluster's values again; return the task instances, one per server."""
        return self._submit(cluster_id, f"obproxies/{_joined(server_ids)}/refresh", _policy(rollout), key)

    def restart(
        self,
        cluster_id: int,
        server_ids: Sequence[int],
        key: str | None = None,
        *,
        allow_cold: bool = False,
        rollout: Document | None = None,
    ) -> list[Document]:
        """Restart OBProxy servers, one at a time; return the task instances, one per server."""
        body = {"allowColdRestart": allow_cold, **_policy(rollout)}
        return self._submit(cluster_id, f"obproxies/{_joined(server_ids)}/restart", body, key)

    def cluster(self, cluster_id: int) -> Document:
        """Return an OBProxy cluster with its servers."""
        return self._request("GET", f"/api/v2/obproxy/clusters/{cluster_id}")

    def task(self, task_id: int) -> Document:
        """Return the document of one task instance."""
        return self._request("GET", f"/api/v2/tasks/instances/{task_id}")

    def log(self, task_id: int, subtask_id: int) -> str:
        """Return the log of a subtask."""
        return str(self._request("GET", f"/api/v2/tasks/instances/{task_id}/subtasks/{subtask_id}/log")["log"])

    def tasks(self, **query: str | int) -> list[Document]:
        """Return one page of the list of task instances; `query` holds the query parameters of the API."""
        contents: list[Document] = self._request("GET", "/api/v2/tasks/instances", query=query)["contents"]
        return contents

    def control(self, operation: str, task_id: int, subtask_id: int | None = None) -> None:
        """Execute an operation (retry, rollback, skip, cancel) on a task instance or on one of its subtasks."""
        subtask = "" if subtask_id is None else f"/subtasks/{subtask_id}"
        self._request("POST", f"/api/v2/tasks/instances/{task_id}{subtask}/{operation}")

    def requests(self, **query: str | int) -> list[Document]:
        """Return one page of the list of requests; `query` holds the query parameters of the API."""
        contents: list[Document] = self._request("GET", "/api/v2/obproxy/requests", query=query)["contents"]
        return contents

    def request(self, request_id: int) -> Document:
        """Return the document of a request, with its hosts."""
        return self._request("GET", f"/api/v2/obproxy/requests/{request_id}")

    def control_request(self, operation: str, request_id: int) -> Document:
        """Execute an operation (retry, rollback, cancel) on all hosts of a request that allow it; return the result."""
        return self._request("POST", f"/api/v2/obproxy/requests/{request_id}/{operation}")

    def hosts(self) -> list[Document]:
        """Return the hosts of the inventory, with the OBProxy clusters that each serves."""
        contents: list[Document] = self._request("GET", "/api/v2/compute/hosts", query={"size": HOSTS_LIMIT})[
            "contents"
        ]
        return contents

    def follow_log(self, task_id: int, subtask_id: int) -> Iterator[str]:
        """Yield the log of a subtask, piece by piece, until the subtask has ended."""
        path, after, ended = f"/api/v2/tasks/instances/{task_id}/subtasks/{subtask_id}/log", 0, False
        for _ in self._events(f"/api/v2/tasks/instances/{task_id}/events"):
            while True:
                # The last line is written before the final status, so read the status before the log.
                ended = self._status(task_id, subtask_id) not in ("READY", "RUNNING", "CANCELING")
                piece = self._request("GET", path, query={"after": after})
                if not piece["log"]:
                    break
                after = piece["next"]
                yield str(piece["log"])
            if ended:
                return

    def _status(self, task_id: int, subtask_id: int) -> str:
        for subtask in self._task_when_reachable(task_id)["subtasks"]:
            if subtask["id"] == subtask_id:
                return str(subtask["status"])
        raise RequestRejected(f"Task instance {task_id} has no subtask {subtask_id}.")

    def watch(self, task_ids: Sequence[int]) -> Iterator[list[Document]]:
        """Yield the documents now and after each change, until none of them is RUNNING."""
        documents = {task_id: self.task(task_id) for task_id in task_ids}
        yield list(documents.values())
        running = any(document["status"] == "RUNNING" for document in documents.values())
        for event in self._events("/api/v2/tasks/events") if running else ():
            changed = [task_id for task_id in documents if task_id in event.get("changed", documents)]
            for task_id in changed:
                documents[task_id] = self._task_when_reachable(task_id)
            if changed:
                yield list(documents.values())
            if all(document["status"] != "RUNNING" for document in documents.values()):
                return

    def watch_request(self, request_id: int) -> Iterator[Document]:
        """Yield the document of a request now and after each change, until it is not RUNNING."""
        document = self.request(request_id)
        yield document
        for event in self._events(f"/api/v2/obproxy/requests/{request_id}/events") if _is_running(document) else ():
            if event:
                known = {host["taskId"]: host for host in document["hosts"]}
                changed = {host["taskId"]: host for host in event["hosts"]}
                document = {**event, "hosts": list((known | changed).values())}
            else:
                document = _when_reachable(lambda: self.request(request_id))
            yield document
            if not _is_running(document):
                return

    def _task_when_reachable(self, task_id: int) -> Document:
        return _when_reachable(lambda: self.task(task_id))

    def _events(self, path: str) -> Iterator[Document]:
        """Yield the data of an event stream without end; without a stream, yield {} so that the caller polls."""
        while True:
            with suppress(httpx.HTTPError), connect_sse(self._http, "GET", path) as source:
                for event in source.iter_sse() if source.response.is_success else ():
                    if event.data:  # httpx-sse yields keep-alive comments as events without data
                        yield json.loads(event.data)
            time.sleep(POLL_INTERVAL)
            yield {}

    def _submit(self, cluster_id: int, operation: str, body: JSON, key: str | None) -> list[Document]:
        headers = {} if key is None else {"Idempotency-Key": key}
        path = f"/api/v2/obproxy/clusters/{cluster_id}/{operation}"
        contents: list[Document] = self._request("POST", path, body, headers=headers)["contents"]
        return contents

    def _request(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        try:
            envelope = self._http.request(method, path, json=body, params=query, headers=headers).json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise ServiceUnreachable(f"No response from {self._http.base_url}: {error}") from error
        if not envelope["successful"]:
            raise RequestRejected(envelope["error"]["message"])
        data: Document = envelope.get("data", {})
        return data


def _policy(rollout: Document | None) -> JSON:
    return {} if rollout is None else {"rollout": rollout}


def _joined(ids: Sequence[int]) -> str:
    return ",".join(map(str, ids))


def _is_running(document: Document) -> bool:
    return bool(document["status"] == "RUNNING")


def _when_reachable(read: Callable[[], Document]) -> Document:
    """Return the document; repeat the request while the service is unreachable, up to RECONNECT_TIMEOUT."""
    deadline = time.monotonic() + RECONNECT_TIMEOUT
    while True:
        try:
            return read()
        except ServiceUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_INTERVAL)
