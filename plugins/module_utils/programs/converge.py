"""Runs on the host: brings a few small files to the wanted text, atomically, and tells what that changed.

In check mode it only says what it would do.
"""

# importing pathlib would cost the host a third of this program's time
# ruff: noqa: PTH101, PTH103, PTH104, PTH106, PTH108, PTH110, PTH112, PTH114, PTH116, PTH118, PTH119, PTH120
# ruff: noqa: PTH123, PTH208

import errno
import json
import os
import pwd
import signal
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
TEMPORARY = ".obproxy-takeover-"
KEPT = ".before-takeover"  # ending of the copy of a file that was not ours
UNTOLD = ".untold"  # ending of a mark: the file has changed, and the commands have not all run since


class Problem(Exception):
    """The wanted state could not be reached; the text says why."""


def text_at(path: str) -> "str | None":
    """A file's text, None when there is none. A link is not followed: its place may be another user's."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise Problem(str(error)) from error
    with open(descriptor, encoding="utf-8", errors="replace", newline="") as file:
        return file.read(2**20)


def same(path: str, text: "str | None", wanted: "dict[str, Any]") -> bool:
    """Whether a file with this text is as wanted already. One that must not be replaced is, when it is there; and of
    files to be removed those without the signature are somebody else's."""
    if wanted["text"] is None:
        return text is None or wanted["signature"] not in text
    if text is None:
        return False
    return not wanted["replace"] or (
        text == wanted["text"] and stat.S_IMODE(os.lstat(path).st_mode) == int(wanted["mode"], 8)
    )


def write(path: str, text: str, mode: int) -> None:
    """Put a text in place so that a reader sees the former or the new one, whole, whatever happens meanwhile."""
    temporary = os.path.join(os.path.dirname(path), f"{TEMPORARY}{os.getpid()}-{os.path.basename(path)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def place(path: str, text: "str | None", wanted: "dict[str, Any]") -> bool:
    """Write or remove one file that holds `text`. With `keep`, somebody else's is put aside by the first write (then
    the answer is true) and comes back instead of the removal, as it was. A mark says until `told` that commands have
    to hear of it."""
    if wanted["text"] is not None and not os.path.exists(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path), int(wanted["directory_mode"], 8))
    if wanted.get("commands"):
        os.close(os.open(path + UNTOLD, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    if wanted["text"] is None:
        if wanted["keep"] and os.path.exists(path + KEPT):
            os.rename(path + KEPT, path)
        else:
            os.unlink(path)
        return False
    is_ours = text is None or (wanted["signature"] and wanted["signature"] in text)
    aside = wanted["keep"] and not is_ours and not os.path.exists(path + KEPT)
    if aside:
        os.link(path, path + KEPT)
    write(path, wanted["text"], int(wanted["mode"], 8))
    return bool(aside)


def told(items: "list[dict[str, Any]]") -> None:
    """Take the marks away: the commands have heard of these files, or their former texts are back."""
    for item in items:
        if os.path.exists(item["path"] + UNTOLD):
            os.unlink(item["path"] + UNTOLD)


def emptied(directories: "list[str]", gone: "set[str]") -> "list[str]":
    """Those of the directories that are empty once the paths in `gone` have been removed, the deepest first."""
    found = []  # type: list[str]
    for directory in sorted(directories, key=len, reverse=True):
        if os.path.isdir(directory) and not os.path.islink(directory):
            names = {os.path.join(directory, name) for name in os.listdir(directory)}
            if not names - gone - set(found):
                found.append(directory)
    return found


def run(commands: "list[list[str]]", seconds: int) -> None:
    """Commands one after the other; raises Problem with what the failing one said."""
    import subprocess  # half of this program's start, and most runs need no command

    for command in commands:
        ended = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            cwd="/",
        )
        try:
            said = ended.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            ended.kill()
            ended.communicate()
            raise Problem(f"{' '.join(command)} did not end within {seconds} s") from None
        if ended.returncode != 0:
            raise Problem(f"{' '.join(command)} ended with {ended.returncode}: {said.strip()[-500:]}")


def become_owner_of(path: str) -> None:
    """Give up root for the user who owns a path: what another user can change is not touched as root."""
    owner = pwd.getpwuid(os.stat(path).st_uid)
    if owner.pw_uid != os.geteuid():
        os.initgroups(owner.pw_name, owner.pw_gid)
        os.setgid(owner.pw_gid)
        os.setuid(owner.pw_uid)


def still_runs(process: "dict[str, Any]") -> bool:
    """Whether the process with this pid is still the one that was started at that time (clock ticks after boot)."""
    try:
        with open(f"/proc/{process['pid']}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[19] == str(process["started"])


def converge(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """`wanted`: files [{path, text or None, mode, replace, directory_mode, keep, signature}], prune (directories to
    remove when they are empty), check, as_owner_of, commands, process, seconds. When a command fails the former texts
    are put back."""
    if wanted["process"] and not still_runs(wanted["process"]):
        raise Problem(f"the OBProxy with pid {wanted['process']['pid']} does not run any more")
    if wanted["as_owner_of"]:
        become_owner_of(wanted["as_owner_of"])
    before = {item["path"]: text_at(item["path"]) for item in wanted["files"]}
    todo = [item for item in wanted["files"] if not same(item["path"], before[item["path"]], item)]
    # Where a run was killed between the file and its commands.
    owed = [item for item in wanted["files"] if os.path.exists(item["path"] + UNTOLD)]
    done = []
    try:
        for item in [] if wanted["check"] else todo:
            done.append((item, place(item["path"], before[item["path"]], dict(item, commands=wanted["commands"]))))
        run(wanted["commands"] if (todo or owed) and not wanted["check"] else [], wanted["seconds"])
    except Problem:
        for item, aside in done:
            undo = dict(item, text=None if aside else before[item["path"]], keep=aside)
            place(item["path"], item["text"], undo)
        told([item for item, _ in done if item not in owed])
        raise
    told([] if wanted["check"] else todo + owed)
    changed = [
        {"path": item["path"], "before": before[item["path"]], "after": item["text"]}
        for item in todo + [item for item in owed if item not in todo]
    ]
    empty = emptied(wanted["prune"], {item["path"] for item in todo if item["text"] is None})
    for directory in [] if wanted["check"] else empty:
        os.rmdir(directory)
    return {"changed": changed + [{"path": path, "before": "a directory\n", "after": None} for path in empty]}


def main(wanted: "dict[str, Any]") -> None:
    """Print what changed, or the problem, as one marked line."""
    signal.alarm(wanted["seconds"] * (2 + len(wanted["commands"])))
    try:
        answer = converge(wanted)
    except (Problem, OSError) as problem:
        answer = {"changed": [], "problem": str(problem)}
    print(MARKER + json.dumps(answer))
