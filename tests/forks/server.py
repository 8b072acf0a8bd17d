"""Runs programs in forks of a server process that has imported what they need.

Arguments, environment, working directory and output are those of the program. `Server` and `ForkedProcess` are the
client's side; `serve` is the server process.
"""

import atexit
import gc
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import cast

from .process_tree import kill_tree

ROOT = Path(__file__).parents[2]
FORKED = Path(__file__).with_name("forked_program.py")
"""The client as a program, for callers that start one; its variable FORK_SERVER is the address of the server."""
ANSIBLE = "tests.forks.ansible_programs"
SERVICE = "tests.forks.service_program"
"""Modules of server processes."""
_START_DEADLINE = 60  # seconds
_UNEXPECTED_EXCEPTION = 250


class ForkedProcess:
    """A program in a fork, which leads a session, with the attributes of `subprocess.Popen`.

    It is killed, with its descendants, when this object is garbage collected or this process ends.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.pid: int = connection.recv()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, None while the program runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status when the program has ended; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not self._connection.poll(timeout):
                raise subprocess.TimeoutExpired(f"forked program {self.pid}", cast("float", timeout))
            self.returncode = int(self._connection.recv())
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to the program, unless it has ended."""
        if self.poll() is None:
            with suppress(BrokenPipeError):  # it has just ended
                self._connection.send(number)  # to its parent: only there the process id cannot be another's

    def terminate(self) -> None:
        """Send SIGTERM to the program."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the program."""
        self.send_signal(signal.SIGKILL)


class Server:
    """The process of one of the modules above in an environment; it ends with this process."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.address = f"{self._directory.name}/socket"
        errors = Path(self._directory.name) / "errors"
        with errors.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, self.address],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,  # Ctrl-C goes to this process, which ends the programs
            )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"listening\n", errors.read_text()
        atexit.register(self.close)

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], output: Path, directory: Path = ROOT
    ) -> ForkedProcess:
        """Start a program in a working directory; its output is appended to a file."""
        connection = Client(self.address)
        connection.send((list(arguments), dict(environment), str(directory), str(output)))
        return ForkedProcess(connection)

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], output: Path, seconds: float) -> int:
        """Run a program, with its output in a file; return its exit status. Raise TimeoutError."""
        try:
            return self.start(arguments, environment, output).wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{arguments[0]} takes more than {seconds} s:\n{output.read_text()}") from error

    def close(self) -> None:
        """End the process; this happens at the end of this process at the latest."""
        atexit.unregister(self.close)
        self._process.communicate(timeout=_START_DEADLINE)  # closes its standard input
        self._directory.cleanup()


def serve(address: str, run: Callable[[Mapping[str, str]], None]) -> None:
    """Serve until standard input ends. In the fork of a program, `run` is called with the former environment."""
    gc.collect()
    gc.freeze()  # a garbage collection in a fork would copy these pages
    with Listener(address) as listener:
        _end_with_standard_input()
        print("listening", flush=True)
        while True:
            with listener.accept() as connection:
                if os.fork() == 0:
                    listener.close()
                    _answer(connection, run)
                    os._exit(0)
            _collect()


def _end_with_standard_input() -> None:
    """Let a child end this process, which waits for connections, as soon as its client closes standard input."""
    server = os.pidfd_open(os.getpid())  # its number may belong to another process later
    if os.fork() == 0:
        sys.stdin.read()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(server, signal.SIGKILL)
        os._exit(0)


def _collect() -> None:
    """Collect children that have ended."""
    while os.waitpid(-1, os.WNOHANG)[0]:
        pass


def _answer(connection: Connection, run: Callable[[Mapping[str, str]], None]) -> None:
    """Run one program in a session of its own, and pass signals on to it."""
    arguments, environment, directory, output = connection.recv()
    pid = os.fork()
    if pid == 0:
        connection.close()
        os.setsid()
        os.chdir(directory)
        _become(arguments, environment, output, run)
    connection.send(pid)
    ended = os.pidfd_open(pid)
    while connection in wait([connection, ended]):
        try:
            os.kill(pid, connection.recv())
        except EOFError:  # the client has ended, and so does the program
            kill_tree(pid)
            return
    _, status = os.waitpid(pid, 0)
    connection.send(os.waitstatus_to_exitcode(status))


def _become(
    arguments: list[str], environment: dict[str, str], output: str, run: Callable[[Mapping[str, str]], None]
) -> None:
    """Become the program."""
    status: object = _UNEXPECTED_EXCEPTION
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        former = dict(os.environ)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = arguments
        status = None
        run(former)
    except SystemExit as end:
        status = end.code
    except BaseException:
        status = _UNEXPECTED_EXCEPTION
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))
