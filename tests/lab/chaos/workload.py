"""A caller that operates one host without a pause while faults happen, and in the end gets everything done."""

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

from service.cli.client import DISCOVERIES, Client
from service.cli.errors import RequestRejected, ServiceUnreachable
from service.cli.transport import Document
from service.model.workflow import PRECHECK, REFRESH, RELEASE, RESTART, TAKEOVER
from service.outcome.verdict import Code

from ..host import LabHost

CLUSTER = 1
DISCOVERY = "discovery"
CANCELED, ROLLED_BACK = "cancel", "rollback"
_ATTEMPTS = 4  # retries that may fail after the last fault: each for a subtask that the faults have left behind
_DEADLINE = 180.0  # seconds for anything after the last fault; a machine that does other things too is slow
_INTERVAL = 0.2  # seconds between two looks


@dataclass(kw_only=True)
class Workload:
    """The operations on one host. `faults_over` is set after the last fault. `restarts`: it restarts the OBProxy, too.

    - task_ids: the task instances that were accepted
    - done: how often each operation has succeeded
    """

    host: LabHost
    client: Client
    seed: int
    faults_over: threading.Event
    restarts: bool
    task_ids: list[int] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def run(self) -> None:
        """Operate the host until the faults are over, then take it over. Raise AssertionError if that fails."""
        while not self.faults_over.is_set():
            self._operate(self._chance.choice(self._possible()))
        if self._server() is None:
            self._operate(TAKEOVER)
        self._operate(REFRESH)

    def _possible(self) -> list[str]:
        if self._server() is None:
            return [DISCOVERY, PRECHECK, TAKEOVER, TAKEOVER]
        return [DISCOVERY, PRECHECK, TAKEOVER, REFRESH, RELEASE, *([RESTART] if self.restarts else [])]

    def _operate(self, operation: str) -> None:
        """Request an operation and get it done; while faults happen it may be rejected, canceled or rolled back."""
        if operation == DISCOVERY:
            self._discover()
            return
        server, key = self._server(), str(uuid.uuid4())
        ids = [] if server is None else [int(server["id"])]
        hosts = [{"hostId": self.host.host_id, "sqlPort": self.host.sql_port}]
        submit: dict[str, Callable[[], Sequence[Document]]] = {
            PRECHECK: partial(self.client.take_over, CLUSTER, hosts, key, check=True),
            TAKEOVER: partial(self.client.take_over, CLUSTER, hosts, key),
            REFRESH: partial(self.client.refresh, CLUSTER, ids, key),
            RELEASE: partial(self.client.release, CLUSTER, ids, key=key),
            RESTART: partial(self.client.restart, CLUSTER, ids, key, allow_cold=True),
        }
        try:
            (accepted,) = self._answer(submit[operation])
        except RequestRejected:
            assert not self.faults_over.is_set(), f"{operation} of {self.host.name} is rejected"
            return
        self.task_ids.append(int(accepted["id"]))
        self._get_done(operation, self.task_ids[-1])

    def _get_done(self, operation: str, task_id: int) -> None:
        if self._chance.random() < 1 / 4:
            self._cancel(task_id)
        document, failures = self._end(task_id), 0
        while document["status"] != "SUCCESSFUL":
            self._check_reason(document)
            failures += self.faults_over.is_set()
            assert failures <= _ATTEMPTS, f"{operation} of {self.host.name} fails for ever: {self._logs(document)}"
            operation = self._react(operation, document)
            document = self._end(task_id)
        self.done[operation] += 1

    def _react(self, operation: str, document: Document) -> str:
        """Retry a failed task instance, or roll it back; return the operation that it now does."""
        allowed = document["operations"]
        assert allowed, f"{operation} of {self.host.name} has failed and allows nothing: {document}"
        undo = "ROLLBACK" in allowed and not self.faults_over.is_set() and self._chance.random() < 1 / 3
        chosen = "rollback" if undo else "retry"
        try:
            self._answer(partial(self.client.control, chosen, document["id"]))
        except RequestRejected as error:
            # An answer was lost, and the repeated request finds the operation begun.
            assert self._task(document["id"])["status"] != "FAILED", error
        return ROLLED_BACK if undo else operation

    def _cancel(self, task_id: int) -> None:
        """Cancel the running subtask at some moment; it may have ended before."""
        self.faults_over.wait(self._chance.uniform(0, 4))
        for subtask in self._task(task_id)["subtasks"]:
            if "CANCEL" in subtask["operations"]:
                try:
                    self._answer(partial(self.client.control, "cancel", task_id, subtask["id"]))
                    self.done[CANCELED] += 1
                except RequestRejected:
                    return

    def _discover(self) -> None:
        try:
            self._answer(partial(self.client.discover, [self.host.host_id]))
        except RequestRejected:
            return
        for _ in self._looks():
            page = self._answer(partial(self.client.all, DISCOVERIES))
            (found,) = (each for each in page["contents"] if each["hostId"] == self.host.host_id)
            if found["state"] != "PENDING":
                self.done[DISCOVERY] += found["state"] == "DISCOVERED"
                return

    def _end(self, task_id: int) -> Document:
        for _ in self._looks():
            document = self._task(task_id)
            if document["status"] != "RUNNING":
                return document
        raise AssertionError

    def _check_reason(self, document: Document) -> None:
        """Raise AssertionError unless one subtask has failed and its log has the reason."""
        failed = [subtask for subtask in document["subtasks"] if subtask["status"] == "FAILED"]
        assert len(failed) == 1, document
        log = self._answer(partial(self.client.log, document["id"], failed[0]["id"]))
        codes = {line.partition(":")[0] for line in log.splitlines()}
        assert codes & set(get_args(Code)), f"a failure without a reason: {log}"

    def _logs(self, document: Document) -> str:
        logs = (self.client.log(document["id"], subtask["id"]) for subtask in document["subtasks"])
        return "\n".join(filter(None, logs))

    def _server(self) -> Document | None:
        """Return the OBProxy server of the host; None = it is not managed."""
        servers = self._answer(partial(self.client.cluster, CLUSTER))["obproxies"]
        return next((each for each in servers if each["hostId"] == self.host.host_id), None)

    def _task(self, task_id: int) -> Document:
        return self._answer(partial(self.client.task, task_id))

    def _looks(self) -> Iterator[None]:
        """Yield at each time to look again. There is no limit while faults happen."""
        deadline = None
        while True:
            yield
            if deadline is None and self.faults_over.is_set():
                deadline = time.monotonic() + _DEADLINE
            assert deadline is None or time.monotonic() < deadline, f"{self.host.name} stands still: {self.task_ids}"
            time.sleep(_INTERVAL)

    def _answer[Answer](self, ask: Callable[[], Answer]) -> Answer:
        """Return the answer to a request, which is repeated as long as the service is unreachable."""
        for _ in self._looks():
            try:
                return ask()
            except ServiceUnreachable:
                continue
        raise AssertionError
