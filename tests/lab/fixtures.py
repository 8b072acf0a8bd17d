"""Fixtures for every test that needs real hosts: `lab` for the session, `lab_host` to start hosts for one test."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from . import Lab, LabError, LabHost
from .leftovers import SessionDirectory
from .states import DEFAULT_VERSION

_DIRECTORY = Path(__file__).parents[2] / ".lab"
_FIRST_HOST_ID = 1000


class StartHost(Protocol):
    """lab_host(state=..., version=..., sql_port=..., cluster=...): a started host, removed when the test ends."""

    def __call__(
        self,
        state: str = "running",
        version: str = DEFAULT_VERSION,
        sql_port: int = 2883,
        cluster: str | None = "",
    ) -> LabHost: ...


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Yield an empty lab. It skips nothing: a machine that cannot run it fails with the reason."""
    try:
        Lab.prepare()
    except LabError as error:
        pytest.fail(f"The lab is not usable: {error}", pytrace=False)
    with SessionDirectory(_DIRECTORY, prefix=f"test-{os.getpid()}-") as directory:
        lab = Lab(directory)
        try:
            lab.start_many([])  # a service wants an inventory, also one without hosts
            yield lab
        finally:
            lab.close()


@pytest.fixture(scope="session")
def _host_ids() -> Iterator[int]:
    return itertools.count(_FIRST_HOST_ID)


@pytest.fixture
def lab_host(lab: Lab, _host_ids: Iterator[int]) -> Iterator[StartHost]:
    """Start hosts with names, ids and addresses of their own."""
    started: list[LabHost] = []

    def start(
        state: str = "running", version: str = DEFAULT_VERSION, sql_port: int = 2883, cluster: str | None = ""
    ) -> LabHost:
        host_id = next(_host_ids)
        name = f"host-{host_id}"
        started.append(
            lab.start(name, host_id=host_id, state=state, version=version, sql_port=sql_port, cluster=cluster)
        )
        return started[-1]

    yield start
    for host in started:
        host.remove()
