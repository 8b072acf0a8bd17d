"""A process that holds one reading of the inventory: it tells what was read, and forks whatever is to have it too.

It is forked from the server that has Ansible imported. A fork of it inherits the reading as it is in memory, whatever
its size, so that an inventory is read once per change and not once per run. The service itself imports this module too,
but never Ansible: functions import what does.
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
    from service.inventory.ansible_inventory import Held

NUMBER = struct.Struct("q")  # a process id, an exit status
SAID = 2000  # characters of what programs wrote to standard error, at the most

_held: "Held | None" = None

_Children = dict[int, tuple[int, int]]  # by a descriptor of each child: its process id, where its status is told


@dataclass(frozen=True, kw_only=True)
class Order:
    """Names an inventory, and how it is to be read."""

    source: Path
    playbooks: Path
    environment: Mapping[str, str] = field(repr=False)  # what the settings add to the environment of every run


def main(order: Order, control: Connection) -> None:
    """Read the inventory, send ("read", View) or ("failed", reason), then fork what is asked for until nobody asks."""
    global _held
    from service.inventory import ansible_inventory, preload, service_view

    with suppress(OSError):  # a test runs this in a process that leads its session already
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key press at a terminal goes to all of its processes
    try:
        preload.adopt(order.environment)
    except RuntimeError as error:
        control.send(("failed", str(error)))
        return
    try:
        with _heard() as words:
            _held = ansible_inventory.read(order.source, order.playbooks)
            told = service_view.view(_held)
    except Exception as error:  # whatever a plugin raises
        control.send(("failed", _with_words(ansible_inventory.reason(error), words())))
        return
    control.send(("read", told))
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy all of this
    _serve(control)


def reading() -> "Held":
    """Return the inventory that was read in this process, or in the one that it was forked from."""
    assert _held is not None, "it is forked from a holder"
    return _held


def answer(question: str, arguments: tuple[Any, ...], pipe: Connection) -> None:
    """Send ("answer", what a function of `service_view` says) or ("failed", reason); for a forked process."""
    from service.inventory import ansible_inventory, service_view

    try:
        answer = ("answer", getattr(service_view, question)(reading(), *arguments))
    except Exception as error:  # whatever a template or a lookup raises
        answer = ("failed", ansible_inventory.reason(error))
    pipe.send(answer)


def _serve(control: Connection) -> None:
    children: _Children = {}
    asked = True
    while asked or children:
        for ready in wait([*([control] if asked else []), *children]):
            if isinstance(ready, int):
                _reap(ready, children)
            else:
                asked = _fork(control, children)


def _fork(control: Connection, children: _Children) -> bool:
    """Fork one process as it is asked for; False when nobody will ask any more."""
    try:
        order = control.recv_bytes()
        pipe, status = recv_handle(control), recv_handle(control)
    except (EOFError, OSError):
        return False
    process = os.fork()
    if process == 0:
        control.close()
        for descriptor in (status, *children, *(told for _, told in children.values())):
            os.close(descriptor)
        _become(order, Connection(pipe))
    os.close(pipe)
    _tell(status, process)
    children[os.pidfd_open(process)] = (process, status)
    return True


def _become(order: bytes, pipe: Connection) -> None:
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        target, arguments = pickle.loads(order)  # noqa: S301 - from the process that started this one
        target(*arguments, pipe)
        status = 0
    except BaseException:  # nothing may get out of here: above stands the loop of another process
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(status)


def _reap(descriptor: int, children: _Children) -> None:
    process, status = children.pop(descriptor)
    os.close(descriptor)
    _tell(status, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    os.close(status)


def _tell(status: int, number: int) -> None:
    with suppress(OSError):  # nobody wants to know any more
        os.write(status, NUMBER.pack(number))


@contextmanager
def _heard() -> Iterator[Callable[[], str]]:
    """Keep what programs write to standard error meanwhile, and drop what Ansible prints."""
    kept = os.memfd_create("standard-error")
    former = os.dup(2), sys.stdout, sys.stderr
    os.dup2(kept, 2)
    text: list[str] = []
    with open(os.devnull, "w", encoding="utf-8") as nothing:  # noqa: PTH123 - a device
        sys.stdout = sys.stderr = nothing
        try:
            yield lambda: "".join(text)
        finally:
            sys.stdout, sys.stderr = former[1:]
            os.dup2(former[0], 2)
            text.append(os.pread(kept, SAID, max(os.fstat(kept).st_size - SAID, 0)).decode(errors="replace"))
            os.close(former[0])
            os.close(kept)


def _with_words(reason: str, words: str) -> str:
    said = " ".join(words.split())
    return f"{reason}. Standard error: {said}" if said and said not in reason else reason
