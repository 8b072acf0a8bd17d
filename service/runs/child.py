"""The child process of one run. No other module of a run imports ansible-runner.

The child is forked from a process that has imported this module, so a run does not spend time on imports. A crash
affects only its own run. Pitfalls of ansible-runner: docs/reference/ansible-runner.md E.1 to E.16.
"""

import os
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ansible_runner
import pexpect

from service.inventory import snapshot_process
from service.model.errors import LeaseExpired
from service.outcome import ansible_results
from service.outcome.masking import Mask
from service.outcome.redaction import redact
from service.outcome.run_progress import RunEnd
from service.runs import ansible_playbook, files
from service.runs.files import Files
from service.runs.process_tree import become_subreaper, terminate_children
from service.runs.spec import RunSpec

LAST_OUTPUT_LIMIT = 4096  # characters of the run's last output in its RunEnd
POLL_INTERVAL = 0.2  # seconds; ansible-runner's default of 5 s delays the end of a run

MEMORY_LIMIT = 256 * 2**20  # bytes per process beyond the inherited ones: a host can send unlimited output
FILE_SIZE_LIMIT = 64 * 2**20  # bytes; files on a tmpfs use memory too

# The last Ansible task of the playbook fails if rules do not hold: the service reads the results of the roles instead.
_CHECK = "--check --diff --skip-tags findings"

Message = tuple[str, Any]  # ("plain", reason not to fork), ("event", dict) …, and last ("end", RunEnd)
Outbox = SimpleQueue[Message | None]


def main(spec: RunSpec, directory: Path, environment: Mapping[str, str], pipe: Connection) -> None:
    """Run the playbook in `directory` (private, 0700) with `environment`; send redacted events and the end.

    The worker sends the monotonic time of each lease renewal through `pipe`. The run ends when its lease expires, when
    None is received, or when the pipe is closed.
    """
    os.setsid()
    os.umask(0o077)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # recomputed from the new environment
    _limit_memory()
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE_LIMIT, FILE_SIZE_LIMIT))
    become_subreaper()
    canceled = threading.Event()
    outbox: Outbox = SimpleQueue()
    expires = spec.renewed + spec.lease
    try:
        if time.monotonic() >= expires:
            raise LeaseExpired(seconds=spec.lease)
        written = files.write(directory, spec.inputs, snapshot_process.loaded_inventory())
    except Exception as error:  # Ansible can raise anything
        shutil.rmtree(directory, ignore_errors=True)
        with suppress(OSError):  # the worker has ended
            pipe.send(("end", RunEnd(rc=None, status="error", start_error=f"The run cannot start: {error}")))
        return
    mask = written.mask
    sender = threading.Thread(target=_send, args=(outbox, pipe, mask))
    threads = [sender, threading.Thread(target=_watch_lease, args=(pipe, canceled, expires, spec.lease), daemon=True)]
    try:
        end = _run(spec, directory, outbox, written, partial(_start_all, threads))
    except Exception as error:  # text of a managed host can make ansible-runner's parser raise
        text = mask(f"ansible-runner failed: {type(error).__name__}: {error}")
        end = RunEnd(rc=None, status=None, last_lines=text[:LAST_OUTPUT_LIMIT])
    _start_all(threads)  # in case ansible-playbook was never started
    gone = terminate_children()
    shutil.rmtree(directory, ignore_errors=True)
    outbox.put(("end", replace(end, canceled=canceled.is_set(), tree_gone=gone)))
    outbox.put(None)
    sender.join()


def _run(spec: RunSpec, directory: Path, outbox: Outbox, written: Files, when_started: Callable[[], None]) -> RunEnd:
    """Call ansible-runner. `when_started` is called after the fork of ansible-playbook, which needs a single thread."""
    tail: list[str] = []
    loaded = snapshot_process.loaded_inventory()

    class Spawn(pexpect.spawn):  # type: ignore[misc]
        """Forks ansible-playbook instead of executing it. ansible-runner has no parameter for that."""

        def _spawnpty(self, args: list[bytes], **options: Any) -> object:
            reason = ansible_playbook.reason_not_to_fork(loaded, options["env"]) if spec.start == "forked" else ""
            if reason:
                outbox.put(("plain", reason))
            elif spec.start == "forked":
                arguments = [os.fsdecode(argument) for argument in args]
                options["preexec_fn"] = partial(
                    ansible_playbook.run, loaded, arguments, options["env"], options["preexec_fn"]
                )
            try:
                started = super()._spawnpty(args, **options)
            finally:
                when_started()
            started.delayafterclose = 0  # seconds; ansible-runner closes it after the process has ended
            return started

    pexpect.spawn = Spawn
    runner = ansible_runner.run(
        private_data_dir=str(directory),
        ident=spec.ident,
        playbook=str(spec.playbook),
        inventory=written.sources,
        limit=written.limit,
        tags=",".join(spec.roles),
        cmdline=_CHECK if spec.check else None,
        event_handler=partial(_enqueue, outbox, tail),
        # Without it, ansible-runner replaces the signal handlers of this process. _watch_lease cancels runs.
        cancel_callback=lambda: False,
        settings={"pexpect_timeout": POLL_INTERVAL, "suppress_output_file": True},
        fact_cache_type="memory",
        quiet=True,
    )
    output = "\n".join(tail)[-2 * LAST_OUTPUT_LIMIT :]  # masked before it is cut: half a secret would not be found
    return RunEnd(
        rc=runner.rc,
        status=runner.status,
        last_lines=written.mask(ansible_results.clean(output, len(output)))[-LAST_OUTPUT_LIMIT:],
    )


def _limit_memory() -> None:
    """Limit the memory of this process and of each child to `MEMORY_LIMIT` beyond what it has inherited."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    inherited = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData:"))
    limit = inherited + MEMORY_LIMIT
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _start_all(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        if thread.ident is None:
            thread.start()


def _enqueue(outbox: Outbox, tail: list[str], event: dict[str, Any]) -> bool:
    """Put the event on the queue and return False (write no event file).

    ansible-runner calls this in the run's only loop: an exception would kill the run, a wait would stall it.
    """
    tail.append(str(event.get("stdout") or ""))
    del tail[:-40]
    # A copy: ansible-runner reuses one dict for all lines that were printed at once.
    outbox.put(("event", dict(event)))
    return False


def _send(outbox: Outbox, pipe: Connection, mask: Mask) -> None:
    while (message := outbox.get()) is not None:
        kind, value = message
        try:
            pipe.send((kind, redact(value, mask) if kind == "event" else value))
        except OSError:  # the worker has ended; _watch_lease ends the run
            return


def _watch_lease(pipe: Connection, canceled: threading.Event, expires: float, lease: float) -> None:
    """Receive lease renewals; end the run when the lease expires, on None, and when the worker has ended."""
    with suppress(EOFError, OSError):
        while pipe.poll(max(expires - time.monotonic(), 0.0)) and (renewed := pipe.recv()) is not None:
            expires = max(expires, renewed + lease)  # a renewal by a report can arrive after a later one
    canceled.set()
    terminate_children()
