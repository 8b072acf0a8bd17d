"""The directory with the fork server's socket: no process leaves one, however it ends."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.model.settings import PROJECT

STARTED = """
import sys
from multiprocessing import forkserver
from pathlib import Path
from service.inventory import socket_directory
socket_directory.TMPFS = Path(sys.argv[1])
socket_directory.ensure()
socket_directory.ensure()
forkserver.ensure_running()
print("started", flush=True)
sys.stdin.read()
"""

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def memory() -> Iterator[Path]:
    """Yield a directory in place of memory, with a short path: that of a socket is limited."""
    with tempfile.TemporaryDirectory(prefix="memory-") as directory:
        yield Path(directory)


@pytest.fixture
def start(memory: Path) -> Iterator[Start]:
    """Start a process with a fork server, whose socket is below the test's directory."""
    started: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", STARTED, str(memory)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout and process.stdout.readline() == "started\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def sockets(directory: Path) -> list[Path]:
    return list(directory.rglob("listener-*"))


def test_the_socket_of_a_killed_process_is_removed_at_the_next_start(memory: Path, start: Start) -> None:
    alive, killed = start(), start()
    before = sockets(memory)
    assert len(before) == 2
    killed.kill()
    killed.communicate()
    assert len(sockets(memory)) == 2, "nothing else removes it"

    start()

    assert len(sockets(memory)) == len(list(memory.iterdir())) == 2
    assert len(set(before) & set(sockets(memory))) == 1, "the live one keeps its own"
    assert alive.poll() is None


def test_an_orderly_end_leaves_nothing(memory: Path, start: Start) -> None:
    process = start()

    _, errors = process.communicate("")

    assert (process.returncode, errors) == (0, "")
    assert list(memory.iterdir()) == []
