"""A reading of the inventory in a process of its own, as the service holds it; runs are forked from that process."""

import asyncio
import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any, cast

from service.inventory import holder, socket_directory
from service.inventory.holder import NUMBER, Order
from service.inventory.records import View
from service.model.errors import InventoryUnreadable
from service.model.settings import PROJECT

READ_TIMEOUT = 120.0  # seconds one reading may take
PRELOADED = ["service.inventory.fork_server", "service.inventory.holder", "service.runs.child"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


class Forked:
    """A process that was forked from a reading; in the words of `multiprocessing.Process`."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._lock = threading.Lock()
        self.exitcode: int | None = None
        """Its exit status; -1 when nobody can tell."""
        self.pid = self._number()
        """Its process id."""
        if self.pid is None:
            self.close()
            raise OSError("The process that holds the inventory is gone")

    def join(self) -> None:
        """Wait until it has ended."""
        with self._lock:
            if self.exitcode is None:
                number = self._number()
                self.exitcode = -1 if number is None else number

    def close(self) -> None:
        """Give up its descriptor."""
        os.close(self._status)

    def _number(self) -> int | None:
        told = os.read(self._status, NUMBER.size)  # it was written at one stroke
        return int(NUMBER.unpack(told)[0]) if told else None


class Reading:
    """The holder of one reading. It ends when nobody has this object any more and all that was forked has ended."""

    def __init__(self, source: Path, environment: Mapping[str, str]) -> None:
        self.environment = environment
        """What the settings add to the environment of the reading, and of every run that is forked from it."""
        self._source = source
        self._lock = threading.Lock()
        socket_directory.ensure()
        self._control, theirs = _context.Pipe()
        order = Order(source=source.absolute(), playbooks=PROJECT / "playbooks", environment=environment)
        self._process = _context.Process(target=holder.main, args=(order, theirs), daemon=True, name="inventory")
        self._process.start()
        theirs.close()
        weakref.finalize(self, self._control.close)

    async def view(self) -> View:
        """Wait for what was read; raises InventoryUnreadable. For one call, the first."""
        try:
            kind, told = await asyncio.to_thread(self._first_word)
        except BaseException:
            self._kill()
            raise
        if kind == "failed":
            raise InventoryUnreadable(reason=told)
        return cast("View", told)

    async def ask(self, question: str, *arguments: Any) -> Any:
        """Return what a function of `service_view` says of the reading; raises InventoryUnreadable."""
        return await asyncio.to_thread(self._ask, question, arguments)

    def fork(self, target: Callable[..., None], arguments: tuple[Any, ...], pipe: Connection) -> Forked:
        """Fork a process that calls `target` with `arguments` and this end of a pipe; raises OSError."""
        theirs, status = os.pipe()
        try:
            with self._lock:
                self._control.send_bytes(pickle.dumps((target, arguments)))
                send_handle(self._control, pipe.fileno(), None)
                send_handle(self._control, status, None)
        except BaseException:
            os.close(theirs)
            raise
        finally:
            os.close(status)
        return Forked(theirs)

    def is_alive(self) -> bool:
        """Whether anything can be forked from it."""
        return self._process.is_alive()

    def _first_word(self) -> tuple[str, Any]:
        if not self._control.poll(READ_TIMEOUT):
            raise InventoryUnreadable(reason=f"{self._source}: reading took longer than {READ_TIMEOUT:.0f} s")
        with suppress(EOFError, OSError):
            word: tuple[str, Any] = self._control.recv()
            return word
        return "failed", "the process that was to read it has ended"

    def _ask(self, question: str, arguments: tuple[Any, ...]) -> Any:
        ours, theirs = _context.Pipe()
        with ours:
            with theirs:
                process = self.fork(holder.answer, (question, arguments), theirs)
            kind, told = ours.recv() if ours.poll(READ_TIMEOUT) else ("failed", "no answer")
            process.join()
            process.close()
        if kind == "failed":
            raise InventoryUnreadable(reason=told)
        return told

    def _kill(self) -> None:
        """End it with all that it has started."""
        with suppress(OSError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.kill()


def ensure_server() -> None:
    """Start the server that readings are forked from, so that the first one does not wait for it."""
    forkserver.ensure_running()
