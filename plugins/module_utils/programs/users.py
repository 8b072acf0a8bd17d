"""Part of programs that run on the host: acting as the user whose files are needed, instead of as root.

The user is that of a process, or one that the inventory names, never the owner of a file.
"""

import json
import os
import pwd
import signal

try:  # noqa: SIM105
    from .files import SAFE_FLAGS, UntrustedPath
except ImportError:  # on the host there is no package, and the names are there
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class ProgramTimeout(OSError):
    """The alarm of a program."""


def set_program_timeout(seconds: int) -> None:
    """Let the program fail in time instead of ending at once, so that it puts back what it has begun."""

    def fail(number: int, frame: "Any") -> None:
        raise ProgramTimeout(f"it did not end within {seconds} s")

    signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)


def user_named(name: str) -> "dict[str, Any]":
    """Return a user of the host by name: uid, gid, groups; raises OSError for root and for one who is not there."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise UntrustedPath(f"there is no user {name} on the host") from None
    if account.pw_uid == 0:
        raise UntrustedPath(f"user {name} is root; a takeover wants an ordinary user's OBProxy")
    groups = os.getgrouplist(name, account.pw_gid)
    return {"uid": account.pw_uid, "gid": account.pw_gid, "groups": groups}


def user_of(process: "dict[str, Any]") -> "dict[str, Any]":
    """Return the user of the process with this pid and start time; raises OSError when it has ended or is root's."""
    ended = UntrustedPath(f"the OBProxy with pid {process['pid']} does not run any more")
    try:
        about = os.open(f"/proc/{process['pid']}", os.O_RDONLY | os.O_DIRECTORY | SAFE_FLAGS)
    except OSError:
        raise ended from None
    try:  # the descriptor stays with this process, also when its pid is given to another one
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
    if 0 in uids or len(set(uids)) > 1:
        raise UntrustedPath(f"pid {process['pid']} has the rights of root; a takeover wants an ordinary user's OBProxy")
    return {"uid": uids[0], "gid": gids[0], "groups": [int(word) for word in status["Groups"].split()]}


def become(user: "dict[str, Any]") -> None:
    """Give up root for a user, for good; an ordinary user can only stay who it is. Raises OSError."""
    if os.geteuid() == 0:
        os.setgroups(user["groups"])
        os.setgid(user["gid"])
        os.setuid(user["uid"])
    if (os.getuid(), os.geteuid()) != (user["uid"], user["uid"]):
        raise UntrustedPath(f"user {os.geteuid()} cannot act for user {user['uid']}")


def run_as(user: "dict[str, Any]", work: "Callable[..., Any]", *arguments: "Any", seconds: int = 30) -> "Any":
    """Return what a function returns, as JSON can hold it, in a process of its own that has become a user.

    Raises OSError: the function's, as Untrusted, or that there was no answer in time.
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
            with os.fdopen(writes, "wb") as file:  # text would import a module, which this user may not read
                file.write(json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writes)
    try:
        with os.fdopen(reads, "rb") as file:
            said = file.read().decode()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.waitpid(child, 0)
    if not said:
        raise UntrustedPath(f"the files of user {user['uid']} could not be read within {seconds} s")
    answer = json.loads(said)
    if "problem" in answer:
        raise UntrustedPath(answer["problem"])
    return answer["result"]
