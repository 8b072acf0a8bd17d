"""Talking to a running service over HTTP, as any other caller does."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from service.types import JSON

POLL = 0.2  # seconds between two looks at a task that is being watched
TIMEOUT = 30.0  # seconds one request may take

Document = Mapping[str, Any]


class Refused(Exception):
    """The service said no; the text is its own sentence."""


class Client:
    """A caller's view of the service at `url`; a context manager that closes its connections."""

    def __init__(self, url: str, password: str, *, user: str = "admin") -> None:
        self._http = httpx.Client(base_url=url, auth=(user, password), timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def take_over(self, cluster_id: int, hosts: Sequence[JSON]) -> list[Document]:
        """POST takeOver; the task instances, one a host."""
        answer = self._ask("POST", f"/api/v2/obproxy/clusters/{cluster_id}/takeOver", {"hosts": list(hosts)})
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

    def follow_log(self, task_id: int, subtask_id: int) -> Iterator[str]:
        """What a subtask's runs say, piece by piece, until it has ended."""
        path, after, ended = f"/api/v2/tasks/instances/{task_id}/subtasks/{subtask_id}/log", 0, False
        while True:
            piece = self._ask("GET", path, query={"after": after})
            if piece["log"]:
                yield str(piece["log"])
            after = piece["next"]
            if ended and not piece["log"]:
                return
            # Looked at before the log is asked once more: its last line is there before its state is terminal.
            ended = self._status(task_id, subtask_id) not in ("READY", "RUNNING", "CANCELING")
            if not ended:
                time.sleep(POLL)

    def _status(self, task_id: int, subtask_id: int) -> str:
        found = [s["status"] for s in self.task(task_id)["subtasks"] if s["id"] == subtask_id]
        return str(found[0])

    def watch(self, task_ids: Sequence[int]) -> Iterator[list[Document]]:
        """The documents again and again, until none of them is RUNNING any more."""
        running = True
        while running:
            documents = [self.task(task_id) for task_id in task_ids]
            yield documents
            running = any(document["status"] == "RUNNING" for document in documents)
            if running:
                time.sleep(POLL)

    def _ask(
        self, method: str, path: str, body: JSON | None = None, query: Mapping[str, str | int] | None = None
    ) -> Document:
        try:
            answer = self._http.request(method, path, json=body, params=query).json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise Refused(f"No answer from {self._http.base_url}: {error}") from error
        if not answer["successful"]:
            raise Refused(answer["error"]["message"])
        data: Document = answer.get("data", {})
        return data


def read_password(file: Path) -> str:
    """The password in `file`; raises Refused when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Refused(f"The password cannot be read: {error}") from error
