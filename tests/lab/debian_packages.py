"""A Debian with a newer Python than the lab's hosts, and the packages with which the service is installed on it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from service.model.settings import PROJECT

from . import image

SUITE, PYTHON = "trixie", "3.13"
PACKAGES = ("ca-certificates", "python-is-python3", "python3-venv")  # what an image of Python's own has


def step(sentence: str, command: list[str]) -> None:
    """Run one command of a long preparation, and print what it is."""
    print(f"==> {sentence}", flush=True)
    subprocess.run(command, check=True)


def base_image(*packages: str) -> str:
    """Return the name of an image with further Debian packages, which is made once."""
    return image.debian(step, SUITE, *PACKAGES, *packages)


def download(directory: Path, *more: str) -> list[str]:
    """Download what the service needs through this machine's pip and its configured index.

    Return the podman volumes with which the pip of a container finds only these packages.
    """
    about = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [
        *about["build-system"]["requires"],
        *about["project"]["dependencies"],
        *about["project"]["optional-dependencies"]["otel"],
        *more,
    ]
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    constraints = directory / "constraints.txt"
    constraints.write_text(re.sub(r" *\\\n|^ +--hash.*\n", "\n", lock, flags=re.MULTILINE))
    wheels = ["--quiet", "--only-binary", ":all:", "--python-version", PYTHON, "--dest", f"{directory}/wheels"]
    command = [sys.executable, "-m", "pip", "download", *wheels, "--constraint", str(constraints), *needed]
    step("Downloading what the service needs", command)
    (directory / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    return ["--volume", f"{directory}/wheels:/wheels:ro", "--volume", f"{directory}/pip.conf:/etc/pip.conf:ro"]
