"""Lists the orphaned processes that a terminated run has left on its host, by a run of playbooks/leftovers.yml."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from service.inventory.snapshot import InventorySnapshot
from service.model.settings import PROJECT
from service.outcome import ansible_results
from service.runs import run
from service.runs.run import Run
from service.runs.spec import RunSpec

PLAYBOOK = PROJECT / "playbooks" / "leftovers.yml"
ANSIBLE_TASK = "Find processes of the run"  # prints one line per orphaned process
TIMEOUT = 5.0  # seconds to wait for the result after the terminated run has ended

NO_LEFTOVERS = "Nothing that this run started is left on the host."
LEFTOVERS = "Still running on the host, started by this run and not ended with it:"
UNKNOWN = "The host could not be checked for processes that this run has left"


class LeftoverCheck:
    """Checks the host of a run for orphaned processes.

    `start` is called as soon as the run is to be terminated, because Ansible needs time to start.
    """

    def __init__(self, spec: RunSpec, snapshot: InventorySnapshot) -> None:
        self._spec = spec
        self._snapshot = snapshot
        self._starting: asyncio.Task[Run] | None = None

    def start(self, process: int) -> None:
        """Start the playbook, which waits until the process with this id (the terminated run's child) has ended."""
        variables = {"run_ident": self._spec.ident, "run_process": process}
        self._spec = replace(
            self._spec,
            ident=str(uuid.uuid4()),
            renewed=time.monotonic(),
            playbook=PLAYBOOK,
            roles=(),
            check=False,
            inputs=replace(self._spec.inputs, variables=variables),
        )
        self._starting = asyncio.create_task(asyncio.to_thread(run.start, self._spec, self._snapshot))

    async def result(self) -> str:
        """Return the result as text for the log, within `TIMEOUT`."""
        assert self._starting is not None, "start was called"
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._result(await asyncio.shield(self._starting))
        except TimeoutError:
            return f"{UNKNOWN}: no result within {TIMEOUT:.0f} s."
        except OSError as error:
            return f"{UNKNOWN}: {error}."

    async def close(self) -> None:
        """Terminate the playbook if it was started."""
        if self._starting is None:
            return
        try:
            started = await self._starting
        except OSError:  # it could not be started
            return
        await started.terminate()

    async def _result(self, started: Run) -> str:
        failed = "."
        async with aclosing(started.batches()) as batches:
            async for batch, end in batches:
                if end is not None and end.start_error:
                    failed = f": {end.start_error}"
                for event in batch:
                    data = ansible_results.mapping(event.get("event_data"))
                    if not ansible_results.is_authentic(event, self._spec.token):
                        continue
                    if event.get("event") == "runner_on_ok" and data.get("task") == ANSIBLE_TASK:
                        return _report(ansible_results.mapping(data.get("res")))
                    if event.get("event") in ("runner_on_failed", "runner_on_unreachable"):
                        failed = f": {ansible_results.failure_message(event)}"
        return UNKNOWN + failed


def _report(res: Mapping[str, Any]) -> str:
    lines = ansible_results.clean(res.get("stdout")).splitlines()
    return "\n".join([LEFTOVERS, *(f"  pid {line}" for line in lines)]) if lines else NO_LEFTOVERS
