"""Private directories of runs: ownership, in a place where every user may write, and in any pid namespace."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.model.errors import StartFailed
from service.model.settings import PROJECT
from service.runs import directories, run
from service.runs.directories import PREFIX
from service.store import owned_directories

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of another user")

OWNER = """
import sys
from pathlib import Path
from service.runs import directories
directories.TMPFS = Path(sys.argv[1])
print(directories.make(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that every user may write to."""
    directory = tmp_path / "memory"
    directory.mkdir()
    directory.chmod(0o1777)
    monkeypatch.setattr(directories, "TMPFS", directory)
    return directory


@pytest.fixture
def owner(memory: Path) -> Iterator[Callable[..., tuple[Path, subprocess.Popen[str]]]]:
    """Start another worker that owns a directory."""
    started: list[subprocess.Popen[str]] = []

    def start(*prefix: str) -> tuple[Path, subprocess.Popen[str]]:
        command = [*prefix, sys.executable, "-c", OWNER, str(memory)]
        process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout
        return Path(process.stdout.readline().strip()), process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_directory_is_private_and_owned_by_a_live_process() -> None:
    directory = directories.make()
    run.remove_orphaned_runs()
    assert directory.stat().st_mode & 0o7777 == 0o700

    directories.release(directory)
    run.remove_orphaned_runs()

    assert not directory.exists()


def test_a_directory_outlives_its_owner_until_the_next_sweep(
    owner: Callable[..., tuple[Path, subprocess.Popen[str]]],
) -> None:
    directory, process = owner()
    run.remove_orphaned_runs()
    assert directory.exists(), "its owner lives"

    process.kill()
    process.wait()
    run.remove_orphaned_runs()

    assert not directory.exists()


@needs_root
def test_an_owner_in_another_pid_namespace_keeps_its_directory(
    owner: Callable[..., tuple[Path, subprocess.Popen[str]]],
) -> None:
    """As containers of one pod that share their memory: there a process id means another process, or none."""
    directory, process = owner("unshare", "--pid", "--fork", "--kill-child")
    assert directory.exists()

    run.remove_orphaned_runs()
    assert directory.exists()

    process.kill()
    process.wait()
    assert process.stdout and not process.stdout.read(), "and whatever it started is gone"
    run.remove_orphaned_runs()
    assert not directory.exists()


@pytest.mark.parametrize("name", ["²-0-x", "1-0-x", "-", "9" * 200, "\n", "é"])
def test_no_name_stops_a_sweep(memory: Path, name: str) -> None:
    dead = directories.make()
    directories.release(dead)
    (memory / f"{PREFIX}{name}").write_text("a file of that name")
    (memory / f"takeover-run-{name}").mkdir()

    run.remove_orphaned_runs()

    assert not dead.exists()
    assert len(list(memory.iterdir())) == 2


def test_a_link_leads_nowhere(memory: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "kept").touch()
    (memory / f"{PREFIX}link").symlink_to(target)
    (memory / f"{PREFIX}nowhere").symlink_to(tmp_path / "none")
    os.mkfifo(memory / f"{PREFIX}fifo")

    run.remove_orphaned_runs()

    assert (target / "kept").exists() and len(list(memory.iterdir())) == 3


@needs_root
def test_directories_of_other_users_are_left_alone(memory: Path) -> None:
    theirs = memory / f"{PREFIX}theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, NOBODY, NOBODY)

    run.remove_orphaned_runs()

    assert theirs.exists()


def test_a_directory_that_is_swept_before_it_is_locked_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = owned_directories._open
    swept: list[Path] = []

    def open_late(path: Path) -> int:
        if not swept:  # the sweep of another worker comes between making and locking
            swept.append(path)
            path.rmdir()
        return opened(path)

    monkeypatch.setattr(owned_directories, "_open", open_late)

    directory = directories.make()

    assert directory.exists() and directory not in swept


def test_a_full_tmpfs_is_rejected_with_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    directories.check_tmpfs()
    monkeypatch.setattr(directories, "TMPFS", tmp_path / "none")

    with pytest.raises(StartFailed, match=r"/none cannot be used by this user: No such file .*Mount a tmpfs there"):
        directories.check_tmpfs()


@needs_root
def test_an_unwritable_tmpfs_is_rejected(memory: Path) -> None:
    memory.chmod(0o755)
    check = (
        "import os, sys\nfrom pathlib import Path\nfrom service.runs import directories\n"
        "directories.TMPFS = Path(sys.argv[1])\nos.setuid(65534)\n"
        "try: directories.check_tmpfs()\nexcept Exception as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, os.path.relpath(memory, PROJECT)], cwd=PROJECT, capture_output=True, text=True
    )
    assert "cannot be used by this user: Permission denied" in done.stdout, done.stderr


def test_semaphores_are_tried_as_well(monkeypatch: pytest.MonkeyPatch, memory: Path) -> None:
    def deny(*arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", deny)

    with pytest.raises(StartFailed, match="Permission denied"):
        directories.check_tmpfs()
    assert not list(memory.iterdir())
