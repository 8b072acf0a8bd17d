"""Builds the wheel of this checkout and installs it into a virtual environment, without a network."""

import subprocess
import sys
from pathlib import Path

from service.model.settings import PROJECT

OFFLINE = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
DEADLINE = 120  # seconds for one command


def install(directory: Path) -> Path:
    """Return the directory of a new environment with the wheel, and with its dependencies from this one."""
    build(directory)
    environment = directory / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=directory)
    (packages,) = environment.glob("lib/python*/site-packages")
    (dependencies,) = (path for path in sys.path if path.endswith("site-packages"))
    (packages / "dependencies.pth").write_text(f"{dependencies}\n")
    for program in Path(sys.executable).parent.glob("ansible*"):  # as pip puts those of dependencies
        (environment / "bin" / program.name).symlink_to(program)
    python = environment / "bin" / "python"
    wheel = built_wheel(environment)
    run(sys.executable, "-m", "pip", "--python", python, "install", *OFFLINE, wheel, cwd=directory)
    return environment


def build(directory: Path) -> None:
    """Build the wheel into a directory."""
    options = ("--no-build-isolation", "--wheel-dir", directory, ".")
    run(sys.executable, "-m", "pip", "wheel", *OFFLINE, *options, cwd=PROJECT)


def built_wheel(environment: Path) -> Path:
    """Return the wheel from which an environment was made."""
    (wheel,) = environment.parent.glob("*.whl")
    return wheel


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that succeeds, and return its output."""
    ended = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=DEADLINE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
