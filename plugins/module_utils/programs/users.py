"""Part of host programs: runs code as the user who owns the files, instead of as root.

The user is that of a process or of the inventory, never the owner of a file, which a user can change.
"""

import json
import os
import pwd
import signal

try:  # noqa: SIM105
    from .files import SAFE_FLAGS, UntrustedPath
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


USER_FILES_TIMEOUT = 10  # seconds for a few files; a user can make a file system hang


class ProgramTimeout(OSError):
    """The program has exceeded its time limit."""


def set_program_timeout(seconds: int) -> None:
    """Raise an exception after a time limit, so that the program can restore files before it ends."""

    def fail(number: int, frame: "Any") -> None:
        raise ProgramTimeout(f"it did not end within {seconds} s")

    signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)


def user_named(name: str) -> "dict[str, Any]":
    """Return uid, gid and groups of a user; raises OSError for root and for an unknown user."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise UntrustedPath(f"there is no user {name} on the host") from None
    if account.pw_uid == 0:
        raise UntrustedPath(f"user {name} is root; the OBProxy must belong to an ordinary user")
    groups = os.getgrouplist(name, account.pw_gid)
    return {"uid": account.pw_uid, "gid": account.pw_gid, "groups": groups}


def user_of(process: "dict[str, Any]") -> "dict[str, Any]":
    """Return the user of the process with this pid and start time; raises OSError when it has ended or is root's."""
    ended = UntrustedPath(f"the OBProxy with pid {process['pid']} has ended")
    try:
        about = os.open(f"/proc/{process['pid']}", os.O_RDONLY | os.O_DIRECTORY | SAFE_FLAGS)
    except OSError:
        raise ended from None
    try:  # the file descriptor stays with this process, even if its pid is reused
        texts = {}
        for name in ("stat", "status"):
            with os.fdopen(os.open(name, os.O_RDONLY | SAFE_FLAGS, dir_fd=about), errors="replace") as file:
                texts[name] = file.read()
    except OSError:
        raise ended from None
    finally:
        os.close(about)
    if texts["stat"].rpartition(")")[2].split()[19] != str(process["started"]):
        raise ended
    status = dict(line.split(":", 1) for line in texts["status"].splitlines() if ":" in line)
    uids, gids = ([int(word) for word in status[name].split()] for name in ("Uid", "Gid"))
    if 0 in uids:
        raise UntrustedPath(f"pid {process['pid']} has root privileges; the OBProxy must belong to an ordinary user")
    if len(set(uids)) > 1 or len(set(gids)) > 1:  # a setuid or setgid program
        raise UntrustedPath(f"pid {process['pid']} has privileges of several users or groups")
    return {"uid": uids[0], "gid": gids[0], "groups": [int(word) for word in status["Groups"].split()]}


def become(user: "dict[str, Any]") -> None:
    """Drop root privileges for good and become a user. Raises OSError."""
    if os.geteuid() == 0:
        os.setgroups(user["groups"])
        os.setgid(user["gid"])
        os.setuid(user["uid"])
    if (os.getuid(), os.geteuid()) != (user["uid"], user["uid"]):
        raise UntrustedPath(f"user {os.geteuid()} cannot act for user {user['uid']}")


def run_as(user: "dict[str, Any]", work: "Callable[..., Any]", *arguments: "Any", seconds: int = 30) -> "Any":
    """Run a function in a child process that has become a user, and return its JSON-compatible result.

    Raises UntrustedPath with the function's OSError, or after a timeout.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reads)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            become(user)
            try:
                answer = {"result": work(*arguments)}
            except OSError as error:
                answer = {"problem": str(error)}
            with os.fdopen(writes, "wb") as file:  # a text file would import a module that this user may not read
                file.write(json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writes)
    try:
        with os.fdopen(reads, "rb") as file:
            text = file.read().decode()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.waitpid(child, 0)
    if not text:
        raise UntrustedPath(f"the work as user {user['uid']} did not end within {seconds} s, or was ended")
    answer = json.loads(text)
    if "problem" in answer:
        raise UntrustedPath(answer["problem"])
    return answer["result"]
