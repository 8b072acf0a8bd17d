"""Talking to a running service over HTTP, as any other caller does."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import httpx
from httpx_sse import connect_sse

from service.access.request_signatures import Signing
from service.model.types import JSON

POLL = 0.2  # seconds between two looks where there is no event stream, and before it is tried again
TIMEOUT = 30.0  # seconds one request may take, and the longest silence of a stream
PATIENCE = 60.0  # seconds that a service which is being watched may be away
MOST = 2000  # elements of one page

Document = Mapping[str, Any]


class Refused(Exception):
    """The service said no; the text is its own sentence."""


class NoAnswer(Refused):
    """The service said nothing."""


class Client:
    """A caller's view of the service at `url`; a context manager that closes its connections.

    With an access key it signs, and `password` is the key's secret.
    """

    def __init__(self, url: str, password: str, *, user: str = "admin", access_key: str | None = None) -> None:
        auth = httpx.BasicAuth(user, password) if access_key is None else Signing(access_key, password)
        self._http = httpx.Client(base_url=url, auth=auth, timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def take_over(
        self, cluster_id: int, hosts: Sequence[JSON], key: str | None = None, *, allow_restart: bool | None = None
    ) -> list[Document]:
        """POST takeOver; the task instances, one a host. With the same `key` it is done once, however often asked.

        `allow_restart` gives or withdraws consent to a restart; None = the OBProxy cluster's word counts.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        path = f"/api/v2/obproxy/clusters/{cluster_id}/takeOver"
        said = {} if allow_restart is None else {"allowRestart": allow_restart}
        answer = self._ask("POST", path, {"hosts": list(hosts), **said}, headers=headers)
        contents: list[Document] = answer["contents"]
        return contents

    def task(self, task_id: int) -> Document:
        """The document of one task instance."""
        return self._ask("GET", f"/api/v2/tasks/instances/{task_id}")

    def log(self, task_id: int, subtask_id: int) -> str:
        """A subtask's log."""
        return str(self._ask("GET", f"/api/v2/tasks/instances/{task_id}/subtasks/{subtask_id}/log")["log"])

    def tasks(self, **narrowed: str | int) -> list[Document]:
        """One page of the list of task instances; `narrowed` are its query parameters."""
        contents: list[Document] = self._ask("GET", "/api/v2/tasks/instances", query=narrowed)["contents"]
        return contents

    def control(self, operation: str, task_id: int, subtask_id: int | None = None) -> None:
        """POST an operation (retry, rollback, skip, cancel) on a task instance or one of its subtasks."""
        subtask = "" if subtask_id is None else f"/subtasks/{subtask_id}"
        self._ask("POST", f"/api/v2/tasks/instances/{task_id}{subtask}/{operation}")

    def hosts(self) -> list[Document]:
        """The hosts of the inventory, with what is deployed on them."""
        contents: list[Document] = self._ask("GET", "/api/v2/compute/hosts", query={"size": MOST})["contents"]
        return contents

    def follow_log(self, task_id: int, subtask_id: int) -> Iterator[str]:
        """What a subtask's runs say, piece by piece, until it has ended."""
        path, after, ended = f"/api/v2/tasks/instances/{task_id}/subtasks/{subtask_id}/log", 0, False
        for _ in self._changes(f"/api/v2/tasks/instances/{task_id}/events"):
            while True:
                # Looked at before the log is asked: its last line is there before its state is terminal.
                ended = self._status(task_id, subtask_id) not in ("READY", "RUNNING", "CANCELING")
                piece = self._ask("GET", path, query={"after": after})
                if not piece["log"]:
                    break
                after = piece["next"]
                yield str(piece["log"])
            if ended:
                return

    def _status(self, task_id: int, subtask_id: int) -> str:
        for subtask in self._patiently(task_id)["subtasks"]:
            if subtask["id"] == subtask_id:
                return str(subtask["status"])
        raise Refused(f"Task instance {task_id} has no subtask {subtask_id}.")

    def watch(self, task_ids: Sequence[int]) -> Iterator[list[Document]]:
        """The documents as they are, and whenever one has changed, until none of them is RUNNING any more."""
        documents = {task_id: self.task(task_id) for task_id in task_ids}
        yield list(documents.values())
        running = any(document["status"] == "RUNNING" for document in documents.values())
        for told in self._changes("/api/v2/tasks/events") if running else ():
            changed = [task_id for task_id in documents if task_id in told.get("changed", documents)]
            for task_id in changed:
                documents[task_id] = self._patiently(task_id)
            if changed:
                yield list(documents.values())
            if all(document["status"] != "RUNNING" for document in documents.values()):
                return

    def _patiently(self, task_id: int) -> Document:
        """The document as soon as the service is there again, if that is not too long."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self.task(task_id)
            except NoAnswer:
                if time.monotonic() > until:
                    raise
                time.sleep(POLL)

    def _changes(self, path: str) -> Iterator[Document]:
        """What an event stream tells, without end; where there is none, nothing again and again: look for yourself."""
        while True:
            with suppress(httpx.HTTPError), connect_sse(self._http, "GET", path) as source:
                for event in source.iter_sse() if source.response.is_success else ():
                    if event.data:  # the library takes what keeps a connection alive for an event
                        yield json.loads(event.data)
            time.sleep(POLL)
            yield {}

    def _ask(
        self,
        method: str,
        path: str,
        body: JSON | None = None,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Document:
        try:
            answer = self._http.request(method, path, json=body, params=query, headers=headers).json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise NoAnswer(f"No answer from {self._http.base_url}: {error}") from error
        if not answer["successful"]:
            raise Refused(answer["error"]["message"])
        data: Document = answer.get("data", {})
        return data
