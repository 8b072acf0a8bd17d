"""The command line of the lab on a machine that cannot run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import prepare


def _prepare(path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.lab", "prepare"],
        env={**os.environ, "PATH": path},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_podman_that_does_not_work_is_one_sentence(tmp_path: Path) -> None:
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\necho 'Error: cannot set up namespace' >&2\nexit 125\n")
    podman.chmod(0o755)
    done = _prepare(f"{tmp_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "No usable podman on this machine: Error: cannot set up namespace\n"


def test_no_podman_and_nothing_to_install_it_with(tmp_path: Path) -> None:
    done = _prepare(str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("These packages are missing and there is no apt-get to install them: podman")
    assert done.stderr.count("\n") == 1


def test_a_font_for_the_chinese_pages_is_missed_where_there_is_none(
    lab: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare._missing_packages() == []
    fonts = tmp_path / "fonts.conf"
    fonts.write_text(f"<fontconfig><dir>{tmp_path}</dir><cachedir>{tmp_path}</cachedir></fontconfig>")
    monkeypatch.setenv("FONTCONFIG_FILE", str(fonts))
    (tmp_path / "apt-get").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert prepare._missing_packages() == [prepare.FONT]


def test_a_second_run_does_and_prints_nothing(lab: object) -> None:
    done = _prepare(os.environ["PATH"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
