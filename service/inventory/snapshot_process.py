"""The process with one snapshot of the inventory: reads it, answers queries, and forks the processes of runs.

It is forked from the fork server, which has Ansible imported. Its own forks share the inventory in memory
(copy-on-write), so that an inventory is read once per change and not once per run. The service imports this module but
not Ansible: imports of Ansible are inside functions.
"""

import gc
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.inventory.ansible_inventory import LoadedInventory

INT64 = struct.Struct("q")  # a process id or an exit status
STDERR_LIMIT = 2000  # characters of standard error in an error message

_loaded: "LoadedInventory | None" = None

_Children = dict[int, tuple[int, int]]  # pidfd of each child: (process id, pipe for its exit status)


@dataclass(frozen=True, kw_only=True)
class InventorySource:
    """Names an inventory and how to read it."""

    path: Path
    playbooks: Path
    environment: Mapping[str, str] = field(repr=False)  # what the settings add to the environment of every run


def main(source: InventorySource, control: Connection) -> None:
    """Read the inventory and send ("read", View) or ("failed", reason); then fork processes until `control` closes."""
    global _loaded
    from service.inventory import ansible_inventory, parsed_files, preload, service_view

    with suppress(OSError):  # a test calls this in a process that already leads its session
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal reaches the whole process group
    try:
        preload.extend_environment(source.environment)
    except RuntimeError as error:
        control.send(("failed", str(error)))
        return
    try:
        with _captured_stderr() as stderr:
            _loaded = ansible_inventory.read(source.path, source.playbooks)
            view = service_view.view(_loaded)
    except Exception as error:  # an inventory plugin can raise anything
        control.send(("failed", _with_stderr(ansible_inventory.error_message(error), stderr())))
        return
    control.send(("read", view))
    parsed_files.parse_project(_loaded.loader, source.playbooks.parent)  # what the fork server has not, or has changed
    gc.collect()
    gc.freeze()  # a garbage collection in a forked process would copy these pages
    _serve(control)


def loaded_inventory() -> "LoadedInventory":
    """Return the inventory that this process, or the one it was forked from, has read."""
    assert _loaded is not None, "only snapshot processes and their forks have an inventory"
    return _loaded


def answer(query: str, arguments: tuple[Any, ...], pipe: Connection) -> None:
    """Send ("answer", result of a function of `service_view`) or ("failed", reason); runs in a forked process."""
    from service.inventory import ansible_inventory, service_view

    os.setpgid(0, 0)  # a lookup may start processes
    try:
        answer = ("answer", getattr(service_view, query)(loaded_inventory(), *arguments))
    except Exception as error:  # a template or a lookup can raise anything
        answer = ("failed", ansible_inventory.error_message(error))
    pipe.send(answer)


def _serve(control: Connection) -> None:
    children: _Children = {}
    is_open = True
    while is_open or children:
        for ready in wait([*([control] if is_open else []), *children]):
            if isinstance(ready, int):
                _reap(ready, children)
            else:
                is_open = _fork(control, children)


def _fork(control: Connection, children: _Children) -> bool:
    """Fork the next requested process; return False when no request can come any more."""
    try:
        request = control.recv_bytes()
        pipe, status = recv_handle(control), recv_handle(control)
    except (EOFError, OSError):
        return False
    try:
        process = os.fork()
    except OSError:  # no memory or too many processes; the requester sees the closed pipe
        os.close(pipe)
        os.close(status)
        return True
    if process == 0:
        control.close()
        for descriptor in (status, *children, *(other for _, other in children.values())):
            os.close(descriptor)
        _run_child(request, Connection(pipe))
    os.close(pipe)
    _write_number(status, process)
    children[os.pidfd_open(process)] = (process, status)
    return True


def _run_child(request: bytes, pipe: Connection) -> None:
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        target, arguments = pickle.loads(request)  # noqa: S301 - from the process that started this one
        target(*arguments, pipe)
        status = 0
    except BaseException:  # the stack above belongs to the parent process: nothing may propagate
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(status)


def _reap(descriptor: int, children: _Children) -> None:
    process, status = children.pop(descriptor)
    os.close(descriptor)
    _write_number(status, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    os.close(status)


def _write_number(status: int, number: int) -> None:
    with suppress(OSError):  # the reader has closed the pipe
        os.write(status, INT64.pack(number))


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Capture what programs write to standard error within the block; discard what Ansible prints."""
    capture = os.memfd_create("standard-error")
    former = os.dup(2), sys.stdout, sys.stderr
    os.dup2(capture, 2)
    text: list[str] = []
    with open(os.devnull, "w", encoding="utf-8") as null:  # noqa: PTH123 - a device
        sys.stdout = sys.stderr = null
        try:
            yield lambda: "".join(text)
        finally:
            sys.stdout, sys.stderr = former[1:]
            os.dup2(former[0], 2)
            size = os.fstat(capture).st_size
            text.append(os.pread(capture, STDERR_LIMIT, max(size - STDERR_LIMIT, 0)).decode(errors="replace"))
            os.close(former[0])
            os.close(capture)


def _with_stderr(reason: str, stderr: str) -> str:
    text = " ".join(stderr.split())
    return f"{reason}. Standard error: {text}" if text and text not in reason else reason
