"""A service in parts that can die one by one: an external PostgreSQL, an API process, workers."""

import os
import secrets
import subprocess
import sys
import time
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from service.cli.client import Client
from service.model.settings import PROJECT

from ..errors import LabError
from ..instance import free_ports
from .postgres import Postgres

_DEADLINE = 60.0


class Part:
    """One process of the service: started, killed, started again. Its output goes to `log`."""

    def __init__(
        self,
        directory: Path,
        name: str,
        command: str,
        settings: Mapping[str, str],
        *,
        prefix: Sequence[str] = (),
        project: Path = PROJECT,
    ) -> None:
        self.log = directory / f"{name}.log"
        self._command = [*prefix, sys.executable, "-m", "service", command]
        values = {"data_dir": str(directory / name), **settings}
        self.environment = {**os.environ, **{f"TAKEOVER_{key.upper()}": value for key, value in values.items()}}
        self._project = project
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as file:
            self._process = subprocess.Popen(
                self._command, env=self.environment, cwd=self._project,
                stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL; only this process."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        assert self._process is not None
        self._process.terminate()
        self.wait()

    def wait(self) -> int:
        """Its exit status, when it ends by itself."""
        assert self._process is not None
        return self._process.wait(_DEADLINE)


class Ground:
    """PostgreSQL, one API process without a worker, and a worker for each of `prefixes`, which say where it runs."""

    def __init__(
        self,
        directory: Path,
        inventory: Path,
        *,
        postgres: Postgres | None = None,
        prefixes: Sequence[Sequence[str]] = ((),),
        project: Path = PROJECT,
        **settings: str,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.postgres = postgres or Postgres()
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._port = str(port)
        self._settings = {
            "database_url": self.postgres.url,
            "inventory": str(inventory),
            "secret_key": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            **settings,
        }
        self.api = self.part("api", "serve", project=project)
        self.workers = [
            self.part(f"worker-{number}", "worker", prefix=prefix, project=project)
            for number, prefix in enumerate(prefixes)
        ]

    def __enter__(self) -> Self:
        try:
            self.postgres.start()
            self.start_api()
            for worker in self.workers:
                worker.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def part(self, name: str, command: str, *, prefix: Sequence[str] = (), project: Path = PROJECT) -> Part:
        """Return a further part, of the version in `project`; it is neither started nor stopped."""
        settings = {**self._settings, "port": self._port, "worker": "false"}
        return Part(self.directory, name, command, settings, prefix=prefix, project=project)

    def start_api(self) -> None:
        """Start the API process and wait for its answer."""
        self.api.start()
        deadline = time.monotonic() + _DEADLINE
        while self.api.alive and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/api/status") as answer:  # noqa: S310
                    if answer.read() == b"okay":
                        return
            except OSError:
                time.sleep(0.05)
        raise LabError(f"The service does not answer:\n{self.api.log.read_text()}")

    def client(self) -> Client:
        """Return a client with the administrator's password; the caller closes it."""
        return Client(self.url, (self.directory / "api" / "admin-password").read_text(encoding="utf-8").strip())

    def _stop(self) -> None:
        for part in (*self.workers, self.api):
            if part.alive:
                part.stop()
        self.postgres.stop()
