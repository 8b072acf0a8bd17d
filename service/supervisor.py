"""Following one run to its end: its events become rows, its time limits are kept, and a stop is carried out."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from service import events
from service.events import Change, Ended, RunEnd, Started
from service.recorder import Recorder
from service.run import Run

log = logging.getLogger(__name__)


class Stop(StrEnum):
    """Why a run is ended from outside."""

    CANCELED = "somebody asked for it"
    TIMED_OUT = "a subtask took longer than it may"
    WORKER = "its worker is being stopped"


class Supervisor:
    """Holds a started run. `limits` are seconds a role, 0 = none; they count from the role's start."""

    def __init__(self, run: Run, recorder: Recorder, progress: events.Progress, limits: Mapping[str, int]) -> None:
        self._run = run
        self._recorder = recorder
        self._progress = progress
        self._limits = limits
        self._stop: Stop | None = None
        self._role: str | None = None
        self._since = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    def stop(self, reason: Stop) -> None:
        """End the run; the first reason counts."""
        if self._stop is None:
            self._stop = reason
            self._run.cancel()

    async def follow(self) -> RunEnd:
        """Record the run until it has ended; returns when nothing of it is left and its last word is written."""
        try:
            async for batch, end in self._run.batches():
                changes: list[Change] = []
                for event in batch:
                    self._progress, more = events.advance(self._progress, event)
                    changes += more
                self._watch_limits(changes)
                await self._recorder.record(changes)
                if end is not None:
                    return await self._finish(end)
        except BaseException:
            await self._run.end()
            raise
        finally:
            self._disarm()
        raise AssertionError("a run's last batch carries its end")

    async def _finish(self, end: RunEnd) -> RunEnd:
        if self._stop is Stop.WORKER and end.rc is None:
            await self._recorder.hand_back()
            return end
        if self._stop is Stop.TIMED_OUT and self._role is not None:
            limit, elapsed = float(self._limits[self._role]), time.monotonic() - self._since
            end = replace(end, canceled=False, timed_out=True, limit=limit, elapsed=elapsed)
        await self._recorder.record(events.finish(self._progress, end))
        return end

    def _watch_limits(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, Started):
                self._role, self._since = change.role, time.monotonic()
                self._disarm()
                if limit := self._limits[change.role]:
                    self._alarm = asyncio.get_running_loop().call_later(limit, self.stop, Stop.TIMED_OUT)
            elif isinstance(change, Ended):
                self._disarm()

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
