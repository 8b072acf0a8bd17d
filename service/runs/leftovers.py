"""What a run that was ended in the middle has left on its host: the host is asked, by the machinery of every run."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from service.model.settings import PROJECT
from service.outcome import ansible_results
from service.runs import run
from service.runs.run import Run, RunRequest

PLAYBOOK = PROJECT / "playbooks" / "remains.yml"
LOOK = "Look for processes of the run"  # the playbook's Ansible task with the answer
LIMIT = 5.0  # seconds that are waited for the answer once nothing of the run is left here

NOTHING = "Nothing that this run started is left on the host."
SOMETHING = "Still running on the host, started by this run and not ended with it:"
UNKNOWN = "The host could not be asked what this run has left on it"


class Question:
    """To the host of `request`; begun as soon as its run is to be ended, since Ansible takes a while to start."""

    def __init__(self, request: RunRequest) -> None:
        self._request = request
        self._starting: asyncio.Task[Run] | None = None

    def begin(self, process: int) -> None:
        """Get ready to ask; the host is looked at when the run's own `process` (its id) is gone."""
        given = self._request.given
        variables = {"run_ident": self._request.ident, "run_process": process}
        self._request = replace(
            self._request,
            ident=str(uuid.uuid4()),
            renewed=time.monotonic(),
            playbook=PLAYBOOK,
            roles=(),
            given=replace(given, variables=variables),
        )
        self._starting = asyncio.create_task(asyncio.to_thread(run.start, self._request))

    async def answer(self) -> str:
        """In words for the log; within `LIMIT` and what it takes to end the asking."""
        assert self._starting is not None, "it was begun"
        try:
            async with asyncio.timeout(LIMIT):
                return await self._answer(await asyncio.shield(self._starting))
        except TimeoutError:
            return f"{UNKNOWN}: no answer within {LIMIT:.0f} s."
        except OSError as error:
            return f"{UNKNOWN}: {error}."

    async def drop(self) -> None:
        """End the asking, answered or not."""
        if self._starting is None:
            return
        try:
            started = await self._starting
        except OSError:  # it was not even started
            return
        await started.end()

    async def _answer(self, started: Run) -> str:
        failed = "."
        async with aclosing(started.batches()) as batches:
            async for batch, end in batches:
                if end is not None and end.refusal:
                    failed = f": {end.refusal}"
                for event in batch:
                    data = ansible_results.mapping(event.get("event_data"))
                    if not ansible_results.is_authentic(event, self._request.token):
                        continue
                    if event.get("event") == "runner_on_ok" and data.get("task") == LOOK:
                        return _told(ansible_results.mapping(data.get("res")))
                    if event.get("event") in ("runner_on_failed", "runner_on_unreachable"):
                        failed = f": {ansible_results.failure(event)}"
        return UNKNOWN + failed


def _told(res: Mapping[str, Any]) -> str:
    lines = ansible_results.clean(res.get("stdout")).splitlines()
    return "\n".join([SOMETHING, *(f"  pid {line}" for line in lines)]) if lines else NOTHING
