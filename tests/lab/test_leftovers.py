"""The next session removes leftovers of a crashed session or a deleted directory."""

import shutil
import subprocess
import sys
from pathlib import Path

from .lab import Lab
from .leftovers import SessionDirectory, remove_leftovers
from .podman import podman, succeeds

_CRASH = """
import os, pathlib, sys
from tests.lab import Lab
from tests.lab.leftovers import SessionDirectory
with SessionDirectory(pathlib.Path(sys.argv[1]), prefix="test-") as directory:
    Lab(directory).start("crashed", host_id=1, state="absent")
    print(directory, flush=True)
    os._exit(9)
"""


def _is_there(lab: Lab) -> bool:
    return succeeds("container", "exists", f"{lab.network}-crashed")


def test_a_crashed_session(tmp_path: Path, lab: Lab) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CRASH, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 9, done.stderr
    crashed = Lab(Path(done.stdout.strip()))
    assert _is_there(crashed)
    with SessionDirectory(tmp_path, prefix="test-") as mine:
        assert not _is_there(crashed)
        assert list(tmp_path.iterdir()) == [mine]
        # A session that lives is left alone.
        remove_leftovers(tmp_path)
        assert mine.exists()


def test_a_deleted_directory(tmp_path: Path, lab: Lab) -> None:
    deleted = Lab(tmp_path / "deleted")
    deleted.start("crashed", host_id=1, state="absent")
    shutil.rmtree(deleted.directory)
    assert _is_there(deleted)
    remove_leftovers(tmp_path)
    assert not _is_there(deleted)
    assert deleted.network not in podman("network", "ls", "--format", "{{.Name}}").split()
    assert lab.directory.exists()
