"""Fixtures of tests that call a service about lab hosts. A module can override `service` with other settings."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.client import Client

from . import Lab, wheel
from .service import Service, running


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a virtual environment with the wheel."""
    return wheel.install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def service(lab: Lab) -> Iterator[Service]:
    """Yield a service on the lab's inventory, which the modules share."""
    with running(lab.directory, lab.inventory, forked=True) as started:
        yield started


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    """Yield a client of the service, with the administrator's password."""
    with service.client() as opened:
        yield opened
