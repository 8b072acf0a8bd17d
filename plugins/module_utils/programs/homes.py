"""Host program: lists the homes of OBProxies, and removes a home.

The files in a home are removed as its user. Root removes only the empty directory, and only where no other user can
change the directory above it.
"""

import errno
import json
import os
import signal
import subprocess

try:
    from .files import NOT_FOUND, ParentDirectory, exists, names_in
    from .users import run_as, user_named
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "


class Problem(Exception):
    """A home could not be removed; the text is the reason."""


def homes(place: str) -> "list[str]":
    """Return the existing ones of: the directory above `place`, `place`, the homes in it; raises OSError."""
    above = place.rpartition("/")[0]
    return [path for path in (above, place) if exists(path)] + [f"{place}/{name}" for name in names_in(place) or []]


def clear(home: str, seconds: int) -> None:
    """Remove the entries of a directory as its user. Symbolic links are removed, not followed."""
    try:
        with ParentDirectory(f"{home}/.") as place:
            inside = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place.descriptor)
    except OSError as error:
        if error.errno in NOT_FOUND:
            return
        raise
    quiet = subprocess.DEVNULL
    program = ["find", ".", "-xdev", "-mindepth", "1", "-delete"]

    def enter() -> None:
        os.fchdir(inside)

    try:
        subprocess.call(program, stdin=quiet, stdout=quiet, stderr=quiet, preexec_fn=enter, timeout=seconds)
    except subprocess.TimeoutExpired:
        return
    finally:
        os.close(inside)


def remove_empty(path: str) -> None:
    """Remove an empty directory if it exists; raises OSError."""
    try:
        with ParentDirectory(path) as place:
            os.rmdir(place.name, dir_fd=place.descriptor)
    except OSError as error:
        if error.errno not in NOT_FOUND:
            raise


def remove_home(wanted: "dict[str, Any]") -> None:
    """Remove a home as its owner, then the directories above it that are empty. Raises Problem and OSError.

    `wanted`: home, owner, made (directories above the home), seconds.
    """
    home, seconds = wanted["home"], wanted["seconds"]
    run_as(user_named(wanted["owner"]), clear, home, seconds, seconds=seconds + 10)
    try:
        remove_empty(home)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise Problem(f"{wanted['owner']} could not remove all that is in {home}") from None
    for path in wanted["made"]:
        try:
            remove_empty(path)
        except OSError:  # it is not empty
            break


def main(wanted: "dict[str, Any]") -> None:
    """Print the homes below `place`, or the result of removing `home`, as one marked line."""
    signal.alarm(wanted["seconds"] + 30)
    try:
        if "home" in wanted:
            remove_home(wanted)
            answer = {"problem": ""}  # type: dict[str, Any]
        else:
            answer = {"there": homes(wanted["place"])}
    except (Problem, OSError) as problem:
        answer = {"problem": str(problem)}
    print(MARKER + json.dumps(answer))
