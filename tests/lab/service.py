"""The service as a process of its own, on a lab's inventory."""

import contextlib
import functools
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.cli.client import Client
from tests.forks.server import SERVICE, ForkedProcess, Server

from .errors import LabError

PROGRAM = (sys.executable, "-m", "service")
START_DEADLINE = 60.0  # seconds until the service must answer
STOP_DEADLINE = 30.0  # seconds until it must have stopped


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running service."""

    url: str
    data_dir: Path
    log: Path
    process: subprocess.Popen[bytes] | ForkedProcess

    @property
    def password_file(self) -> Path:
        return self.data_dir / "admin-password"

    @property
    def password(self) -> str:
        return self.password_file.read_text(encoding="utf-8").strip()

    def client(self) -> Client:
        """Return a client with the administrator's password; the caller closes it."""
        return Client(self.url, self.password)


@contextlib.contextmanager
def running(
    directory: Path,
    inventory: Path,
    *,
    port: int = 0,
    program: Sequence[str] = PROGRAM,
    forked: bool = False,
    **settings: str,
) -> Iterator[Service]:
    """Start the service with its data and log below `directory`, at `port` if that is free; stop it at the end.

    With `forked`, it is `PROGRAM` in a fork of a process that has it imported: a program takes 2 s more CPU time.
    `settings` are more of its settings, without their prefix. Raises LabError with its log when it does not answer.
    """
    port = free_port(port)
    data_dir, log = directory / "data", directory / "service.log"
    values = {"inventory": str(inventory), "data_dir": str(data_dir), "port": str(port), **settings}
    environment = {**os.environ, **{f"TAKEOVER_{name.upper()}": value for name, value in values.items()}}
    command = [*program, "serve"]
    process = (
        fork_server().start(command, environment, log, Path.cwd()) if forked else _start(command, environment, log)
    )
    service = Service(url=f"http://127.0.0.1:{port}", data_dir=data_dir, log=log, process=process)
    try:
        _wait_until_okay(service)
        yield service
    finally:
        process.terminate()
        process.wait(STOP_DEADLINE)


def _start(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("a") as file:
        # In a session of its own: Ctrl-C goes to its starter, which then stops the service in order.
        return subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)


@functools.cache
def fork_server() -> Server:
    """Return the process of which services are forked; it ends with this process."""
    return Server(SERVICE, os.environ)


def _wait_until_okay(service: Service) -> None:
    deadline = time.monotonic() + START_DEADLINE
    while service.process.poll() is None and time.monotonic() < deadline:
        if is_okay(service.url):
            return
        time.sleep(0.1)
    raise LabError(f"The service does not answer at {service.url}:\n{service.log.read_text()}")


def is_okay(url: str) -> bool:
    """Return whether the service at a URL answers that it is ready."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/api/status") as answer:  # noqa: S310
        return bool(answer.read() == b"okay")
    return False


def free_port(wanted: int) -> int:
    """`wanted` where it is free, else another."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise LabError("There is no free port.")
