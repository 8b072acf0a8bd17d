"""A run that no Ansible is behind: as many events as a takeover of a lab host has, as fast as they are taken."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

from service.inventory.snapshot import InventorySnapshot
from service.outcome.run_progress import RunEnd
from service.runs.spec import RunSpec

TASKS = 3  # Ansible tasks of a role
KINDS = ("changed", "dark", "failures", "ignored", "rescued", "skipped")
LINES = "ok: [{host}] => {{\r\n" + "    'found': 'as wished',\r\n" * 4 + "}}"

Event = Mapping[str, Any]


class StandIn:
    """Stands in for `service.runs.run.Run`."""

    pid = None
    told = 0  # events, by all of them

    def __init__(self, spec: RunSpec, snapshot: InventorySnapshot) -> None:
        self._spec = spec
        self.ident = spec.ident

    def cancel(self) -> None:
        """Do nothing: the run ends by itself soon."""

    def renew(self, stamp: float) -> None:
        """Do nothing: the run needs no lease."""

    async def batches(self) -> AsyncGenerator[tuple[list[Event], RunEnd | None]]:
        """Yield one batch per role, and one with the end."""
        events = [
            {**event, "counter": number, "job_id": self._spec.token} for number, event in enumerate(self._events(), 1)
        ]
        size = len(events) // len(self._spec.roles)
        for batch in itertools.batched(events, size):
            StandIn.told += len(batch)
            yield list(batch), None
            await asyncio.sleep(0)
        yield [], RunEnd(rc=0, status="successful")

    async def terminate(self) -> None:
        """Nothing is left of it."""

    def _events(self) -> Iterator[dict[str, Any]]:
        host = self._spec.inputs.host.name
        yield {"event": "playbook_on_start", "event_data": {}, "stdout": ""}
        yield {"event": "playbook_on_play_start", "event_data": {"name": "all"}, "stdout": "\r\nPLAY [all] ****"}
        for role in self._spec.roles:
            for number in range(TASKS):
                about = {"role": role, "task": f"Do {number}", "task_action": "debug", "task_uuid": f"{role}-{number}"}
                title = f"\r\nTASK [{role} : Do {number}] ****"
                yield {
                    "event": "playbook_on_task_start",
                    "event_data": about,
                    "uuid": about["task_uuid"],
                    "stdout": title,
                }
                yield {"event": "runner_on_start", "event_data": {**about, "host": host}, "stdout": ""}
                done = {**about, "host": host, "res": {"changed": False, "found": "as wished"}}
                yield {"event": "runner_on_ok", "event_data": done, "stdout": LINES.format(host=host)}
        nothing: dict[str, Any] = {kind: {} for kind in KINDS}
        ended = {**nothing, "ok": {host: TASKS}, "processed": {host: 1}, "artifact_data": {}}
        yield {"event": "playbook_on_stats", "event_data": ended, "stdout": "\r\nPLAY RECAP ****"}
