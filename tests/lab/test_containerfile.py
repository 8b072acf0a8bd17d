"""The image of deploy/Containerfile, built on a Debian that debootstrap makes: a container of it takes a host over.

`make container` runs this. It takes minutes where it was never run before, so `make test` leaves it out.
"""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from service.cli.client import Client
from service.model.settings import PROJECT

from . import Lab, image
from .fixtures import StartHost
from .podman import as_root, podman

pytestmark = pytest.mark.skipif("CONTAINER" not in os.environ, reason="make container runs it")

DEADLINE = 180.0  # seconds until the service must answer, and for a takeover
SUITE, PYTHON = "trixie", "3.13"
PACKAGES = ("ca-certificates", "python-is-python3", "python3-venv")  # what an image of Python's own has
TAG = "localhost/obproxy-takeover:test"
USER = "10001:10001"


def _step(sentence: str, command: list[str]) -> None:
    print(f"==> {sentence}", flush=True)
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the image and return its name. Its packages come through this machine's pip and its configured index."""
    directory = tmp_path_factory.mktemp("image")
    base = image.debian(_step, SUITE, *PACKAGES)
    _download(directory)
    (directory / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    podman(
        *("build", "--quiet", "--network", "host", "--format", "docker", "--build-arg", f"PYTHON={base}"),
        *("--volume", f"{directory}/wheels:/wheels:ro", "--volume", f"{directory}/pip.conf:/etc/pip.conf:ro"),
        *("--tag", TAG, "--file", str(PROJECT / "deploy" / "Containerfile"), str(PROJECT)),
    )
    return TAG


def _download(directory: Path) -> None:
    about = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = [
        *about["build-system"]["requires"],
        *about["project"]["dependencies"],
        *about["project"]["optional-dependencies"]["otel"],
    ]
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    constraints = directory / "constraints.txt"
    constraints.write_text(re.sub(r" *\\\n|^ +--hash.*\n", "\n", lock, flags=re.MULTILINE))
    wheels = ["--quiet", "--only-binary", ":all:", "--python-version", PYTHON, "--dest", f"{directory}/wheels"]
    command = [sys.executable, "-m", "pip", "download", *wheels, "--constraint", str(constraints), *needed]
    _step("Downloading what the image needs", command)


@contextmanager
def _container(built: str, lab: Lab, directory: Path) -> Iterator[str]:
    """Yield the name of a container with the service on the lab's network."""
    own = {"ssh-key": 0o400, "known_hosts": 0o444}
    mounts = [f"{lab.inventory}:/inventory:ro"]
    for name, mode in own.items():
        copy = directory / name
        copy.write_bytes((lab.directory / name).read_bytes())
        copy.chmod(mode)
        subprocess.run(as_root("chown", USER, str(copy)), check=True)
        mounts.append(f"{copy}:{lab.directory / name}:ro")  # its path in the lab's inventory
    volumes = [argument for mount in mounts for argument in ("--volume", mount)]
    name = f"takeover-{lab.key}"
    podman("run", "--detach", "--name", name, "--network", lab.network, *volumes, built)
    try:
        yield name
    finally:
        podman("rm", "--force", "--time", "0", "--volumes", name)


def _wait_until_okay(name: str) -> str:
    """Return the address of the service in a container."""
    address = podman("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name).strip()
    url = f"http://{address}:8080"
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{url}/api/status") as answer:  # noqa: S310
            if answer.read() == b"okay":
                return url
        time.sleep(0.2)
    raise AssertionError(podman("logs", name))


def test_a_container_takes_a_host_over(built: str, lab: Lab, lab_host: StartHost, tmp_path: Path) -> None:
    host = lab_host()
    with _container(built, lab, tmp_path) as name:
        url = _wait_until_okay(name)
        password = podman("exec", name, "cat", "/data/admin-password").strip()
        with Client(url, password) as client:
            (accepted,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
            deadline = time.monotonic() + DEADLINE
            for (document,) in client.watch([accepted["id"]]):
                assert time.monotonic() < deadline, document
            assert document["status"] == "SUCCESSFUL", podman("logs", name)
        assert host.name in podman("exec", name, "obproxy-takeover", "hosts")
        assert podman("exec", name, "id", "--user").strip() == USER.split(":")[0]
        podman("healthcheck", "run", name)
        podman("stop", name)
        # It went by the signal's own status, in order, and was not killed after podman's patience.
        assert podman("inspect", "--format", "{{.State.ExitCode}}", name).strip() == str(128 + signal.SIGTERM)
