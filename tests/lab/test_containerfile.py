"""The image of deploy/Containerfile, built on a Debian that debootstrap makes: a container of it takes a host over.

`make container` runs this. It takes minutes where it was never run before, so `make test` leaves it out.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.cli.client import Client
from service.model.settings import PROJECT
from tests.waiting import until

from . import Lab, debian_packages
from .fixtures import StartHost
from .podman import as_root, podman
from .service import is_okay

pytestmark = pytest.mark.skipif("CONTAINER" not in os.environ, reason="make container runs it")

DEADLINE = 180.0  # seconds until the service must answer, and for a takeover
TAG = "localhost/obproxy-takeover:test"
USER = "10001:10001"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the image and return its name."""
    directory = tmp_path_factory.mktemp("image")
    base, volumes = debian_packages.base_image(), debian_packages.download(directory)
    podman(
        *("build", "--quiet", "--network", "host", "--format", "docker", "--build-arg", f"PYTHON={base}", *volumes),
        *("--tag", TAG, "--file", str(PROJECT / "deploy" / "Containerfile"), str(PROJECT)),
    )
    return TAG


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


def _address(name: str) -> str:
    return podman("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name).strip()


def test_a_container_takes_a_host_over(built: str, lab: Lab, lab_host: StartHost, tmp_path: Path) -> None:
    host = lab_host()
    with _container(built, lab, tmp_path) as name:
        url = f"http://{_address(name)}:8080"
        until(lambda: is_okay(url), f"no answer at {url}", DEADLINE)
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
