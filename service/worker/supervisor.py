"""Following one run to its end: its events become rows, its time limits are kept, and a stop is carried out."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from service.observe import metrics, tracing
from service.observe.logs import from_now_on_about
from service.outcome import run_progress
from service.outcome.run_progress import Change, Ended, Logged, RunEnd, Started, Verdict
from service.runs.leftovers import Question
from service.runs.run import Run
from service.tasks.recorder import LeaseLost, Recorder

log = logging.getLogger(__name__)

LEASE_LOST = "The worker was cut off from the database, so its run was ended: another worker may be at work by now."


class Stop(StrEnum):
    """Why a run is ended from outside."""

    CANCELED = "somebody asked for it"
    TIMED_OUT = "a subtask took longer than it may"
    WORKER = "its worker is being stopped"
    TAKEN = "another worker took it for dead"


class Limit(NamedTuple):
    """How long a role may run: `seconds`, 0 = no limit, of which `spent` are gone before it starts."""

    seconds: int
    spent: float


class Supervisor:
    """Starts a run and follows it.

    `limits` are those of its roles; they count from the role's start. `question` asks what a run that was ended
    in the middle has left on the host.
    """

    def __init__(
        self,
        start: Callable[[], Run],
        recorder: Recorder,
        progress: run_progress.Progress,
        limits: Mapping[str, Limit],
        question: Question,
    ) -> None:
        self._start = start
        self._run: Run | None = None
        self._recorder = recorder
        self._progress = progress
        self._limits = limits
        self._question = question
        self._stop: Stop | None = None
        self._role: str | None = None
        self._since = 0.0
        self._span: Callable[[bool], None] = lambda successful: None  # ends the running subtask's
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def role(self) -> str | None:
        """The running subtask's; None before the first has started."""
        return self._role

    def stop(self, reason: Stop) -> None:
        """End the run, now or as soon as it has been started; the first reason counts."""
        if self._stop is None:
            self._stop = reason
            if self._run is not None:
                self._end(self._run)

    def _end(self, run: Run) -> None:
        run.cancel()
        if self._stop in (Stop.CANCELED, Stop.TIMED_OUT) and run.pid is not None:
            self._question.begin(run.pid)

    def renew(self, stamp: float) -> None:
        """The run was this worker's at `stamp` (monotonic seconds), so it may go on for a while."""
        if self._run is not None:
            self._run.renew(stamp)

    async def follow(self) -> RunEnd:
        """Record the run until it has ended; returns when nothing of it is left and its last word is written."""
        self._run = await asyncio.to_thread(self._start)
        if self._stop is not None:
            self._end(self._run)
        try:
            async for batch, end in self._run.batches():
                changes: list[Change] = []
                for event in batch:
                    self._progress, more = run_progress.advance(self._progress, event)
                    changes += more
                self._watch_limits(changes)
                if end is not None:
                    ended = await self._finish(changes, end)
                    metrics.events_written(batch)
                    return ended
                stamp = time.monotonic()
                await self._recorder.record(changes)
                if changes:
                    self._run.renew(stamp)  # the report has renewed it in the database
                metrics.events_written(batch)
        except LeaseLost:
            log.warning("Run %s was taken for dead", self._run.ident, extra={"action": "run_taken"})
            await self._run.end()
            return RunEnd(rc=None, status=None)
        except BaseException:
            await self._run.end()
            raise
        finally:
            self._disarm()
            await self._question.drop()
        raise AssertionError("a run's last batch carries its end")

    async def _finish(self, changes: list[Change], end: RunEnd) -> RunEnd:
        """Write the last events and what the end makes of them, in one transaction: a run has ended once and for all.

        Only when the host has to be asked something, the events go first, so that nobody waits for them.
        """
        lease_lost = end.canceled and self._stop is None
        end = replace(end, canceled=self._stop is Stop.CANCELED)
        if self._stop is Stop.WORKER and end.rc != 0:
            await self._recorder.record(changes)
            await self._recorder.requeue(end)
            return end
        if self._stop is Stop.TIMED_OUT and self._role is not None:
            limit, elapsed = self._limits[self._role], time.monotonic() - self._since
            end = replace(end, timed_out=True, limit=float(limit.seconds), elapsed=limit.spent + elapsed)
        if lease_lost and end.rc != 0:
            end = replace(end, rc=None, status=None)
            changes.append(Logged(role=self._role or self._progress.roles[0], text=LEASE_LOST))
        if self._role is not None and self._stop in (Stop.CANCELED, Stop.TIMED_OUT) and end.rc != 0:
            await self._recorder.record(changes)
            changes = [Logged(role=self._role, text=await self._question.answer())]
        last = run_progress.finish(self._progress, end)
        for change in last:
            if isinstance(change, Ended):
                self._ended(change)
        await self._recorder.record([*changes, *last], end)
        return end

    def _watch_limits(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, Started):
                self._role, self._since = change.role, time.monotonic()
                from_now_on_about(role=change.role)
                self._span = tracing.begin(f"subtask {change.role}", role=change.role)
                self._disarm()
                limit = self._limits[change.role]
                if limit.seconds:
                    left = max(limit.seconds - limit.spent, 0.0)
                    self._alarm = asyncio.get_running_loop().call_later(left, self.stop, Stop.TIMED_OUT)
            elif isinstance(change, Ended):
                self._ended(change)

    def _ended(self, change: Ended) -> None:
        if change.role == self._role:
            metrics.SUBTASK_SECONDS.labels(change.role, change.verdict).observe(time.monotonic() - self._since)
            self._span(change.verdict is Verdict.SUCCESSFUL)
        self._disarm()

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
