"""HTTP client of a running service."""

from collections.abc import Iterator, Sequence

from service.cli.errors import RequestRejected
from service.cli.transport import Document, Transport, when_reachable
from service.model.types import JSON

PAGE_LIMIT = 2000  # elements in one response
TASKS = "/api/v2/tasks/instances"
REQUESTS = "/api/v2/obproxy/requests"
CLUSTERS = "/api/v2/obproxy/clusters"
HOSTS = "/api/v2/compute/hosts"
DISCOVERIES = "/api/v2/obproxy/discoveries"
AUDIT = "/api/v2/audit/events"


class Client(Transport):
    """Calls the operations of the service."""

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
        self,
        cluster_id: int,
        server_ids: Sequence[int],
        skip_host_ids: Sequence[int] = (),
        key: str | None = None,
        *,
        rollout: Document | None = None,
    ) -> list[Document]:
        """Release OBProxy servers and return the task instances, one per server.

        The hosts of `skip_host_ids` are gone: their servers are only forgotten. `key` is the idempotency key.
        """
        body = {"obproxyServerIds": list(server_ids), "skipHostOperationServerIds": list(skip_host_ids)}
        body |= _policy(rollout)
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

    def page(self, path: str, number: int, size: int, **query: str | int) -> Document:
        """Return one page of a list; `query` holds the other query parameters of the API."""
        return self._request("GET", path, query={"page": number, "size": size, **query})

    def all(self, path: str, **query: str | int) -> Document:
        """Return all pages of a list as one.

        An element that is added meanwhile moves others to the next page: each is returned once.
        """
        found = self.page(path, 1, PAGE_LIMIT, **query)
        contents = {_identity(element): element for element in found["contents"]}
        for number in range(2, found["page"]["totalPages"] + 1):
            contents |= {_identity(each): each for each in self.page(path, number, PAGE_LIMIT, **query)["contents"]}
        whole = {"number": 1, "size": len(contents), "totalElements": len(contents), "totalPages": 1}
        return {"contents": list(contents.values()), "page": whole}

    def clusters(self) -> Document:
        """Return all OBProxy clusters with their servers."""
        return self.all(CLUSTERS)

    def cluster(self, cluster_id: int) -> Document:
        """Return an OBProxy cluster with its servers."""
        return self._request("GET", f"{CLUSTERS}/{cluster_id}")

    def parameters(self, cluster_id: int) -> Document:
        """Return the parameters of an OBProxy cluster."""
        return self._request("GET", f"{CLUSTERS}/{cluster_id}/parameters")

    def host(self, host_id: int) -> Document:
        """Return a host of the inventory."""
        return self._request("GET", f"{HOSTS}/{host_id}")

    def diagnosis(self, task_id: int) -> bytes:
        """Return the diagnosis of a task instance: a zip."""
        return self._download(f"{TASKS}/{task_id}/downloadDiagnosis")

    def task(self, task_id: int) -> Document:
        """Return the document of one task instance."""
        return self._request("GET", f"{TASKS}/{task_id}")

    def log(self, task_id: int, subtask_id: int) -> str:
        """Return the log of a subtask."""
        return str(self._request("GET", f"{TASKS}/{task_id}/subtasks/{subtask_id}/log")["log"])

    def tasks(self, **query: str | int) -> list[Document]:
        """Return one page of the list of task instances; `query` holds the query parameters of the API."""
        contents: list[Document] = self._request("GET", TASKS, query=query)["contents"]
        return contents

    def control(self, operation: str, task_id: int, subtask_id: int | None = None) -> None:
        """Execute an operation (retry, rollback, skip, cancel) on a task instance or on one of its subtasks."""
        subtask = "" if subtask_id is None else f"/subtasks/{subtask_id}"
        self._request("POST", f"{TASKS}/{task_id}{subtask}/{operation}")

    def request(self, request_id: int) -> Document:
        """Return the document of a request, with its hosts."""
        return self._request("GET", f"{REQUESTS}/{request_id}")

    def control_request(self, operation: str, request_id: int) -> Document:
        """Execute an operation (retry, rollback, cancel) on all hosts of a request that allow it; return the result."""
        return self._request("POST", f"{REQUESTS}/{request_id}/{operation}")

    def hosts(self) -> Document:
        """Return all hosts of the inventory, with the OBProxy clusters that each serves."""
        return self.all(HOSTS)

    def discover(self, host_ids: Sequence[int] | None) -> list[Document]:
        """Request a discovery of hosts, None = of all; return their states. The list of discoveries has the results."""
        body = {} if host_ids is None else {"hostIds": list(host_ids)}
        contents: list[Document] = self._request("POST", "/api/v2/obproxy/discover", body)["contents"]
        return contents

    def follow_log(self, task_id: int, subtask_id: int) -> Iterator[str]:
        """Yield the log of a subtask, piece by piece, until the subtask has ended."""
        path, after, ended = f"{TASKS}/{task_id}/subtasks/{subtask_id}/log", 0, False
        for _ in self._events(f"{TASKS}/{task_id}/events"):
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
        """Yield the documents now and after each change, until none of them is RUNNING or can start any more."""
        documents = {task_id: self.task(task_id) for task_id in task_ids}
        yield list(documents.values())
        running = any(map(_can_proceed, documents.values()))
        for event in self._events("/api/v2/tasks/events") if running else ():
            changed = [task_id for task_id in documents if task_id in event.get("changed", documents)]
            for task_id in changed:
                documents[task_id] = self._task_when_reachable(task_id)
            if changed:
                yield list(documents.values())
            if not any(map(_can_proceed, documents.values())):
                return

    def watch_request(self, request_id: int) -> Iterator[Document]:
        """Yield the document of a request now and after each change, until it is not RUNNING."""
        document = self.request(request_id)
        yield document
        for event in self._events(f"{REQUESTS}/{request_id}/events") if _is_running(document) else ():
            if event:
                known = {host["taskId"]: host for host in document["hosts"]}
                changed = {host["taskId"]: host for host in event["hosts"]}
                document = {**event, "hosts": list((known | changed).values())}
            else:
                document = when_reachable(lambda: self.request(request_id))
            yield document
            if not _is_running(document):
                return

    def _task_when_reachable(self, task_id: int) -> Document:
        return when_reachable(lambda: self.task(task_id))

    def _submit(self, cluster_id: int, operation: str, body: JSON, key: str | None) -> list[Document]:
        headers = {} if key is None else {b"Idempotency-Key": key.encode()}  # the service rejects what is not ASCII
        path = f"{CLUSTERS}/{cluster_id}/{operation}"
        contents: list[Document] = self._request("POST", path, body, headers=headers)["contents"]
        return contents


def _identity(element: Document) -> int:
    """Return the id of an element of a list; a discovery has that of its host."""
    return int(element["id"] if "id" in element else element["hostId"])


def _policy(rollout: Document | None) -> JSON:
    return {} if rollout is None else {"rollout": rollout}


def _joined(ids: Sequence[int]) -> str:
    return ",".join(map(str, ids))


def _can_proceed(document: Document) -> bool:
    """Return whether a task instance runs or will. After too many failures it starts only on request."""
    return _is_running(document) and document.get("heldBy") != "MAX_FAILURES"


def _is_running(document: Document) -> bool:
    return bool(document["status"] == "RUNNING")
