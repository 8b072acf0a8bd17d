"""Runs ansible-playbook and other programs of Ansible in forks of a process with Ansible imported.

The import is half of the CPU time of a play. The options, the environment and the output are those of the program.
`Server` is the client's side.
"""

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from signal import SIGKILL

from service.inventory import preload

from .process_tree import kill_tree

ROOT = Path(__file__).parents[2]
FORKED = Path(__file__).with_name("forked_program.py")
"""The client as a program."""
_ACTIONS = sorted((ROOT / "plugins" / "action").glob("*.py"))
_START_DEADLINE = 60  # seconds
_UNEXPECTED_EXCEPTION = 250


class Server:
    """A process with Ansible imported in an environment; it ends with this one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self.address = f"{self._directory.name}/socket"
        errors = Path(self._directory.name) / "errors"
        with errors.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.roles.playbook_server", self.address],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"listening\n", errors.read_text()

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], output: Path, seconds: float) -> int:
        """Run ansible-playbook, with its output in a file; return its exit status. Raise TimeoutError."""
        with Client(self.address) as connection:
            connection.send((list(arguments), dict(environment), str(ROOT), str(output)))
            pid = connection.recv()
            if not connection.poll(seconds):
                kill_tree(pid)
                raise TimeoutError(f"ansible-playbook takes more than {seconds} s:\n{output.read_text()}")
            return int(connection.recv())

    def close(self) -> None:
        self._process.communicate(timeout=_START_DEADLINE)  # closes its standard input
        self._directory.cleanup()


def serve(address: str) -> None:
    """Import Ansible and serve until standard input ends."""
    preload.import_ansible([f"{preload.COLLECTION}.{path.stem}" for path in _ACTIONS])
    with Listener(address) as listener:
        _end_with_standard_input()
        print("listening", flush=True)
        while True:
            with listener.accept() as connection:
                if os.fork() == 0:
                    _answer(connection)
                    os._exit(0)
            _collect()


def _end_with_standard_input() -> None:
    """Let a child end this process, which waits for connections, as soon as its client closes standard input."""
    server = os.pidfd_open(os.getpid())  # its number may belong to another process later
    if os.fork() == 0:
        sys.stdin.read()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(server, SIGKILL)
        os._exit(0)


def _collect() -> None:
    """Collect children that have ended."""
    while os.waitpid(-1, os.WNOHANG)[0]:
        pass


def _answer(connection: Connection) -> None:
    """Run one playbook in a process group of its own."""
    arguments, environment, directory, output = connection.recv()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.chdir(directory)
        _run(arguments, environment, output)
    connection.send(pid)
    ended = os.pidfd_open(pid)
    if connection in wait([connection, ended]):  # the client was killed, and so is the program
        kill_tree(pid)
        return
    _, status = os.waitpid(pid, 0)
    connection.send(os.waitstatus_to_exitcode(status))


def _run(arguments: list[str], environment: dict[str, str], output: str) -> None:
    """Become the program."""
    status: object = _UNEXPECTED_EXCEPTION
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        changed = dict(os.environ.items() ^ environment.items())
        preload.set_environment(environment)
        preload.read_settings(changed)
        sys.argv = arguments
        importlib.import_module(f"ansible.cli.{Path(arguments[0]).name.removeprefix('ansible-')}").main(arguments)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    serve(sys.argv[1])
