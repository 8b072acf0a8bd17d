"""Calling podman and its runtime: as root, through sudo where the caller is not root, with the lab's own settings."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .errors import LabError

SETTINGS = Path(__file__).parent / "image" / "containers.conf"
NO_ROOT = (
    "The lab gives each host an address of its own, which needs root: run this as root, or let `sudo -n` work for you."
)


def as_root(*command: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the command line that runs a command as root with some more environment. Raises LabError."""
    pairs = [f"{name}={value}" for name, value in (environment or {}).items()]
    prefix = ["env", *pairs] if pairs else []
    if os.geteuid() == 0:
        return [*prefix, *command]
    if not shutil.which("sudo") or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode:
        raise LabError(NO_ROOT)
    return ["sudo", "-n", *prefix, *command]


def command(*arguments: str) -> list[str]:
    """Return the command line of a podman call."""
    return as_root("podman", *arguments, environment={"CONTAINERS_CONF": str(SETTINGS)})


def podman(*arguments: str) -> str:
    """Run podman and return its output. Raise LabError with its error message."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"podman {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def run_inside(container: str, command: str) -> str:
    """Run a shell command in the container with an id and return its output. Raise LabError with its error message.

    The runtime takes a third of the CPU time of `podman exec`, which starts podman twice.
    """
    # Files, because a process that the command leaves behind may keep the streams.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            as_root("runc", "exec", container, "bash", "-c", command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            check=False,
        )
        output.seek(0)
        errors.seek(0)
        if done.returncode:
            raise LabError(f"A command on a host failed: {errors.read().strip() or output.read().strip()}")
        return output.read()


def succeeds(*arguments: str) -> bool:
    return subprocess.run(command(*arguments), capture_output=True, check=False).returncode == 0
