"""The child process of one run: the only place that knows ansible-runner.

It is forked from a server that has this module imported, so a run does not pay for the imports, and nothing that goes
wrong in one run can touch another. What it must watch out for: docs/reference/ansible-runner.md E.1 to E.16.
"""

import os
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ansible_runner
import pexpect

from service.inventory import holder
from service.model.errors import LeaseExpired
from service.model.settings import RunStart
from service.outcome import ansible_results
from service.outcome.masking import Mask
from service.outcome.redaction import excerpt
from service.outcome.run_progress import RunEnd
from service.runs import files, playbook
from service.runs.files import Files, Given
from service.runs.process_tree import adopt_orphans, end_children

LAST_LINES = 4096  # characters of the run's output that go with its end
POLL = 0.2  # seconds; ansible-runner's own default of 5 delays the end of a run

MEMORY = 256 * 2**20  # bytes of its own that a process of a run may have: a host can answer without end
FILE = 64 * 2**20  # bytes of a file that it may write; on a tmpfs that is memory too

LEASE = 20.0  # seconds a run goes on without hearing that it still is its worker's

Message = tuple[str, Any]  # ("plain", why it was not forked), ("event", dict) … and as the last one ("end", RunEnd)
Outbox = SimpleQueue[Message | None]


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What a run needs to know."""

    ident: str
    directory: Path  # its private data directory, 0700, on a tmpfs where there is one
    playbook: Path
    roles: tuple[str, ...]  # the tags to run, in order
    given: Given
    environment: Mapping[str, str] = field(repr=False)
    start: RunStart
    renewed: float  # monotonic time from which its lease counts
    lease: float = LEASE


def main(spec: RunSpec, pipe: Connection) -> None:
    """Run the playbook; excerpts of its events, then the end go into `pipe`, and nothing of them tells a secret.

    From its other end come the times (monotonic seconds) at which the run was known to be its worker's. None of them
    for the length of a lease, a None, or the pipe's closing ends the run.
    """
    os.setsid()
    os.umask(0o077)
    os.environ.clear()
    os.environ.update(spec.environment)
    tempfile.tempdir = None  # it is found anew, by that environment
    _limit_memory()
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    adopt_orphans()
    canceled = threading.Event()
    outbox: Outbox = SimpleQueue()
    expires = spec.renewed + spec.lease
    try:
        if time.monotonic() >= expires:
            raise LeaseExpired(seconds=spec.lease)
        written = files.write(spec.directory, spec.given, holder.reading())
    except Exception as error:  # whatever Ansible raises, too
        shutil.rmtree(spec.directory, ignore_errors=True)
        with suppress(OSError):  # the worker is gone
            pipe.send(("end", RunEnd(rc=None, status="error", refusal=f"The run cannot begin: {error}")))
        return
    mask = written.mask
    sender = threading.Thread(target=_send, args=(outbox, pipe, mask))
    threads = [sender, threading.Thread(target=_obey, args=(pipe, canceled, expires, spec.lease), daemon=True)]
    try:
        end = _run(spec, outbox, written, partial(_start_all, threads))
    except Exception as error:  # a process loop: text of a managed host can make ansible-runner's parser raise
        text = mask(f"ansible-runner failed: {type(error).__name__}: {error}")
        end = RunEnd(rc=None, status=None, last_lines=text[:LAST_LINES])
    _start_all(threads)  # where it did not come to that
    gone = end_children()
    shutil.rmtree(spec.directory, ignore_errors=True)
    outbox.put(("end", replace(end, canceled=canceled.is_set(), tree_gone=gone)))
    outbox.put(None)
    sender.join()


def _run(spec: RunSpec, outbox: Outbox, written: Files, when_started: Callable[[], None]) -> RunEnd:
    """`when_started` is called once ansible-playbook has been started; before, this process must have one thread."""
    tail: list[str] = []
    held = holder.reading()

    class Spawn(pexpect.spawn):  # type: ignore[misc]
        """What ansible-runner starts ansible-playbook with; it has no other way to be given one."""

        def _spawnpty(self, args: list[bytes], **options: Any) -> object:
            reason = playbook.obstacle(held, options["env"]) if spec.start == "forked" else ""
            if reason:
                outbox.put(("plain", reason))
            elif spec.start == "forked":
                arguments = [os.fsdecode(argument) for argument in args]
                options["preexec_fn"] = partial(playbook.play, held, arguments, options["env"], options["preexec_fn"])
            try:
                started = super()._spawnpty(args, **options)
            finally:
                when_started()
            started.delayafterclose = 0  # seconds; ansible-runner closes it only when the process has ended
            return started

    pexpect.spawn = Spawn
    runner = ansible_runner.run(
        private_data_dir=str(spec.directory),
        ident=spec.ident,
        playbook=str(spec.playbook),
        inventory=written.sources,
        limit=written.limit,
        tags=",".join(spec.roles),
        event_handler=partial(_hand_over, outbox, tail),
        # Left out, ansible-runner would replace the signal handlers of this process; cancelling is done in _obey.
        cancel_callback=lambda: False,
        settings={"pexpect_timeout": POLL, "suppress_output_file": True},
        fact_cache_type="memory",
        quiet=True,
    )
    said = "\n".join(tail)[-2 * LAST_LINES :]  # more than is shown: nobody sees what is cut in two there
    return RunEnd(
        rc=runner.rc,
        status=runner.status,
        last_lines=written.mask(ansible_results.clean(said, len(said)))[-LAST_LINES:],
    )


def _limit_memory() -> None:
    """Let this process and each of its children have `MEMORY` beyond what the inventory takes, which they inherit."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    inherited = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:"))
    limit = inherited + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _start_all(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        if thread.ident is None:
            thread.start()


def _hand_over(outbox: Outbox, tail: list[str], event: dict[str, Any]) -> bool:
    """Put the event on the queue; False = no event files. An exception or a wait here would kill or stall the run."""
    tail.append(str(event.get("stdout") or ""))
    del tail[:-40]
    # A copy: ansible-runner uses one dict again for every line that was printed at once.
    outbox.put(("event", dict(event)))
    return False


def _send(outbox: Outbox, pipe: Connection, mask: Mask) -> None:
    while (message := outbox.get()) is not None:
        kind, value = message
        try:
            pipe.send((kind, excerpt(value, mask) if kind == "event" else value))
        except OSError:  # the worker is gone; _obey ends the run
            return


def _obey(pipe: Connection, canceled: threading.Event, expires: float, lease: float) -> None:
    with suppress(EOFError, OSError):
        while pipe.poll(max(expires - time.monotonic(), 0.0)) and (stamp := pipe.recv()) is not None:
            expires = max(expires, stamp + lease)  # a report's word comes later than it was true
    canceled.set()
    end_children()
