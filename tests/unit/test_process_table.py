"""The process table: a reused process id is another process, and no clock matters."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from service.observe import process_table
from service.runs import process_tree

SERVICE = Path(__file__).parents[2] / "service"
DEADLINE = 20.0


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a sleeping process with a name that is hard to parse."""
    with subprocess.Popen(
        [sys.executable, "-c", "import ctypes, time; ctypes.CDLL(None).prctl(15, b') Z 1 (', 0, 0, 0); time.sleep(987)"]
    ) as process:
        wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() == ") Z 1 (\n")
        yield process
        process.kill()


def wait_for(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_process_is_found_whatever_its_name(sleeper: subprocess.Popen[bytes]) -> None:
    found = process_table.find(sleeper.pid)

    assert found and found.is_alive()
    assert found in process_table.running_processes() and found in process_table.descendants(os.getpid())


@pytest.mark.parametrize("without", ["", "pidfd_open"])
def test_a_process_with_a_reused_id_gets_no_signal(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    def unknown(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    if without:
        monkeypatch.setattr(os, without, unknown)
    found = process_table.find(sleeper.pid)
    assert found
    former = replace(found, started=found.started - 1)

    former.send(signal.SIGKILL)
    assert found.is_alive() and not former.is_alive()
    found.send(signal.SIGKILL)

    assert sleeper.wait(DEADLINE) == -signal.SIGKILL
    found.send(signal.SIGKILL)  # no process is left


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    found = process_table.find(sleeper.pid)
    assert found
    os.kill(sleeper.pid, signal.SIGKILL)

    wait_for(lambda: not found.is_alive())

    assert process_table.find(sleeper.pid) is None and found not in process_table.descendants(os.getpid())
    assert process_table.find(4194305) is None  # above the largest id that Linux gives


def test_orphans_below_zombies_are_found_and_ended() -> None:
    tree = "import os, time; from service.runs import process_tree; process_tree.become_subreaper()\n"
    tree += "if os.fork() == 0:\n    if os.fork() == 0:\n        time.sleep(987)\n    os._exit(0)\n"
    tree += "while len(process_tree.process_table.descendants(os.getpid())) != 1: time.sleep(0.01)\n"
    tree += "print(process_tree.terminate_children(), process_tree.process_table.descendants(os.getpid()))"

    done = subprocess.run(
        [sys.executable, "-c", tree], cwd=SERVICE.parent, capture_output=True, text=True, timeout=DEADLINE
    )

    assert done.stdout == "True []\n", done.stderr


def test_no_module_uses_the_creation_time_of_a_process() -> None:
    """It moves with the wall clock."""
    assert not [path.name for path in SERVICE.rglob("*.py") if "create_time()" in path.read_text(encoding="utf-8")]
    assert process_tree.terminate_marked("OBPROXY_NOBODY=1", SERVICE / "none")
