"""A newer version takes over from an older one, and the other way round, with takeovers in the middle."""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.client import Client
from service.model.settings import PROJECT

from . import Lab
from .chaos import invariants
from .chaos.ground import Ground
from .chaos.holds import Holds
from .chaos.matrix import Subject
from .fixtures import StartHost

PREVIOUS = "fc5495f"  # nothing is released yet: the first version that a later one may be run beside
HELD_AT = "install_rpm"


@pytest.fixture(scope="module")
def previous() -> Iterator[Path]:
    """Return the tree of the version before."""
    archive = subprocess.run(["git", "-C", str(PROJECT), "archive", PREVIOUS], capture_output=True)
    if archive.returncode:
        pytest.skip(f"this repository does not have the history: {archive.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory(prefix="previous-") as directory:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(directory, filter="data")
        yield Path(directory)


@pytest.fixture
def holds(lab: Lab) -> Iterator[Holds]:
    with tempfile.TemporaryDirectory(prefix="upgrade-") as directory:
        yield Holds(Path(directory), lab.inventory)


@pytest.fixture
def ground(holds: Holds, previous: Path, tmp_path: Path) -> Iterator[Ground]:
    """Yield API and worker of the version before."""
    with Ground(tmp_path, holds.inventory, project=previous, shutdown_grace="3") as started:
        yield started


@pytest.fixture
def client(ground: Ground) -> Iterator[Client]:
    with ground.client() as opened:
        yield opened


def succeed(subject: Subject) -> str:
    """Let it continue to its end, and return its output."""
    subject.let_go()
    document = subject.wait_for_end()
    subject.check_end(document)
    return subject.logs(document)


def test_versions_side_by_side(
    ground: Ground, holds: Holds, client: Client, lab_host: StartHost, previous: Path
) -> None:
    finishing, handed_over, later, back = [
        Subject(host=lab_host(), moment=HELD_AT, ground=ground, holds=holds, client=client) for _ in range(4)
    ]
    (old,) = ground.workers
    pids = {old.pid}
    for subject in (finishing, handed_over):
        subject.submit()
        subject.arrive()

    migration = ground.part("migration", "migrate")
    migration.start()
    assert migration.wait() == 0, migration.log.read_text()
    new = ground.part("new-worker", "worker")
    ground.workers.append(new)
    new.start()
    pids.add(new.pid)
    succeed(finishing)  # by the old worker, on the new schema
    old.stop()
    assert "The worker is being stopped" in succeed(handed_over)  # the words of the old version

    ground.api.stop()
    ground.api = ground.part("api", "serve")
    ground.start_api()
    later.submit()
    later.arrive()
    succeed(later)

    new.stop()
    old.start()
    pids.add(old.pid)
    back.submit()
    back.arrive()
    succeed(back)
    subjects = (finishing, handed_over, later, back)
    invariants.check(ground.postgres.url, [subject.task_id for subject in subjects], pids)
