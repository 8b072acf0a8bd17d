"""Supervises one run: records its events, enforces its time limits, and stops it on request."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from service.observe import metrics, tracing
from service.observe.logs import bind_log_context
from service.outcome import run_progress
from service.outcome.run_progress import Change, Ended, Logged, RunEnd, Started, Verdict
from service.runs.leftovers import LeftoverCheck
from service.runs.run import Run
from service.tasks.recorder import LeaseLost, Recorder

log = logging.getLogger(__name__)

LEASE_LOST = (
    "The worker lost its connection to the database and ended its run: another worker may be running it by now."
)


class StopReason(StrEnum):
    """A reason for which the worker ends a run."""

    CANCELED = "canceled by a user"
    TIMED_OUT = "a subtask has exceeded its time limit"
    WORKER_STOPPING = "the worker is being stopped"
    LEASE_LOST = "another worker has expired the lease"


class TimeLimit(NamedTuple):
    """Time limit of a role: `seconds` (0 = no limit), of which requeued runs have used `spent`."""

    seconds: int
    spent: float


class Supervisor:
    """Starts a run and records it until its end.

    `limits` are the time limits of its roles, measured from each role's start. `leftover_check` lists the orphaned
    processes of a canceled or timed-out run.
    """

    def __init__(
        self,
        start: Callable[[], Run],
        recorder: Recorder,
        progress: run_progress.Progress,
        limits: Mapping[str, TimeLimit],
        leftover_check: LeftoverCheck,
    ) -> None:
        self._start = start
        self._run: Run | None = None
        self._recorder = recorder
        self._progress = progress
        self._limits = limits
        self._leftover_check = leftover_check
        self._stop_reason: StopReason | None = None
        self._role: str | None = None
        self._role_started = 0.0
        self._end_span: Callable[[bool], None] = lambda successful: None  # of the running subtask
        self._timeout: asyncio.TimerHandle | None = None

    @property
    def role(self) -> str | None:
        """The role of the running subtask; None before the first one."""
        return self._role

    def stop(self, reason: StopReason) -> None:
        """End the run, or end it as soon as it has started. Only the first reason is kept."""
        if self._stop_reason is None:
            self._stop_reason = reason
            if self._run is not None:
                self._cancel(self._run)

    def _cancel(self, run: Run) -> None:
        run.cancel()
        if self._stop_reason in (StopReason.CANCELED, StopReason.TIMED_OUT) and run.pid is not None:
            self._leftover_check.start(run.pid)

    def renew(self, renewed: float) -> None:
        """Send the run a renewal of its lease, which the worker held at `renewed` (monotonic seconds)."""
        if self._run is not None:
            self._run.renew(renewed)

    async def follow(self) -> RunEnd:
        """Start the run and record it; return its end when its processes are gone and the end is recorded."""
        try:
            self._run = await asyncio.to_thread(self._start)
        except OSError as error:  # such as a full tmpfs
            log.error("The run cannot start: %s", error, extra={"action": "run_not_started"})
            reason = f"The run cannot start: {error}."
            return await self._finish([], RunEnd(rc=None, status="error", start_error=reason))
        if self._stop_reason is not None:
            self._cancel(self._run)
        try:
            async for batch, end in self._run.batches():
                changes: list[Change] = []
                for event in batch:
                    self._progress, more = run_progress.advance(self._progress, event)
                    changes += more
                self._watch_limits(changes)
                if end is not None:
                    ended = await self._finish(changes, end)
                    metrics.count_recorded_events(batch)
                    return ended
                now = time.monotonic()
                await self._recorder.record(changes)
                if changes:
                    self._run.renew(now)  # recording renews the lease in the database
                metrics.count_recorded_events(batch)
        except LeaseLost:
            log.warning("Another worker expired the lease of run %s", self._run.ident, extra={"action": "lease_lost"})
            await self._run.terminate()
            return RunEnd(rc=None, status=None)
        except BaseException:
            await self._run.terminate()
            raise
        finally:
            self._cancel_timeout()
            await self._leftover_check.close()
        raise AssertionError("the last batch of a run has its end")

    async def _finish(self, changes: list[Change], end: RunEnd) -> RunEnd:
        """Record the last events and the outcome of the run in one transaction, so that no end is recorded twice.

        Events are recorded first when the leftover check delays the outcome.
        """
        lease_lost = end.canceled and self._stop_reason is None
        end = replace(end, canceled=self._stop_reason is StopReason.CANCELED)
        if self._stop_reason is StopReason.WORKER_STOPPING and end.rc != 0:
            await self._recorder.record(changes)
            await self._recorder.requeue(end)
            return end
        if self._stop_reason is StopReason.TIMED_OUT and self._role is not None:
            limit, elapsed = self._limits[self._role], time.monotonic() - self._role_started
            end = replace(end, timed_out=True, limit=float(limit.seconds), elapsed=limit.spent + elapsed)
        if lease_lost and end.rc != 0:
            end = replace(end, rc=None, status=None)
            changes.append(Logged(role=self._role or self._progress.roles[0], text=LEASE_LOST))
        was_interrupted = self._stop_reason in (StopReason.CANCELED, StopReason.TIMED_OUT) and end.rc != 0
        if self._role is not None and was_interrupted:
            await self._recorder.record(changes)
            changes = [Logged(role=self._role, text=await self._leftover_check.result())]
        outcome = run_progress.finish(self._progress, end)
        for change in outcome:
            if isinstance(change, Ended):
                self._observe_end(change)
        await self._recorder.record([*changes, *outcome], end)
        return end

    def _watch_limits(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, Started):
                self._role, self._role_started = change.role, time.monotonic()
                bind_log_context(role=change.role)
                self._end_span = tracing.start_span(f"subtask {change.role}", role=change.role)
                self._cancel_timeout()
                limit = self._limits[change.role]
                if limit.seconds:
                    left = max(limit.seconds - limit.spent, 0.0)
                    self._timeout = asyncio.get_running_loop().call_later(left, self.stop, StopReason.TIMED_OUT)
            elif isinstance(change, Ended):
                self._observe_end(change)

    def _observe_end(self, change: Ended) -> None:
        if change.role == self._role:
            elapsed = time.monotonic() - self._role_started
            metrics.SUBTASK_SECONDS.labels(change.role, change.verdict).observe(elapsed)
            self._end_span(change.verdict is Verdict.SUCCESSFUL)
        self._cancel_timeout()

    def _cancel_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
