"""Host program: writes or removes small files atomically, and reports the changes.

In check mode it only reports the changes. Files of an ordinary user are accessed as that user.
"""

# importing pathlib takes a third of this program's time
# ruff: noqa: PTH118

import json
import os
import stat
import time

try:
    from .files import NOT_FOUND, TEMPORARY, ParentDirectory, names_in, names_of, program_at, writing_obstacle
    from .limited_command import output, start_command
    from .process_lifetime import start_time
    from .shown_text import last_lines
    from .users import become, set_program_timeout, user_named, user_of
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
BACKUP = ".before-takeover"  # suffix of the backup of another program's file
PENDING_COMMANDS = ".untold"  # suffix of a marker: the file has changed, but its commands have not all run


class Problem(Exception):
    """The desired state could not be reached; the text is the reason."""

    half_done = ""


class Change:
    """One file that is written or removed, and restored when a later step fails."""

    def __init__(self, item: "dict[str, Any]", has_commands: bool) -> None:
        """Read the current file; raises OSError."""
        self.item, self.path, self.has_commands = item, item["path"], has_commands
        self.before, self.mode, self.commands_pending, self.has_backup = None, 0, False, False
        self.after = item["text"]
        try:
            with ParentDirectory(self.path) as place:
                self.before = place.text()
                state = place.state()
                self.mode = stat.S_IMODE(state.st_mode) if state else 0
                self.commands_pending = place.state(PENDING_COMMANDS) is not None
                self.has_backup = place.state(BACKUP) is not None
            if item["text"] is None and item["keep"] and self.has_backup:
                with ParentDirectory(self.path + BACKUP) as place:
                    self.after = place.text()
        except OSError as error:
            if error.errno not in NOT_FOUND:
                raise

    def is_needed(self) -> bool:
        """Return whether the file has to change.

        An existing file is not changed without `replace`, and a file without the signature is not removed.
        """
        if self.item["text"] is None:
            return self.before is not None and self.item["signature"] in self.before
        if self.before is None:
            return True
        is_same = self.before == self.item["text"] and self.mode == int(self.item["mode"], 8)
        return bool(self.item["replace"] and not is_same)

    def needs_backup(self) -> bool:
        """Return whether the current file belongs to another program and has no backup yet."""
        is_ours = self.before is None or (self.item["signature"] and self.item["signature"] in self.before)
        return bool(self.item["keep"] and self.item["text"] is not None and not is_ours and not self.has_backup)

    def apply(self) -> None:
        """Write or remove the file.

        With `keep`, the first write renames another program's file to a backup, and a removal restores it. A marker
        exists until all commands have run.
        """
        text = self.item["text"]
        with ParentDirectory(self.path, None if text is None else int(self.item["directory_mode"], 8)) as place:
            if self.has_commands and not self.commands_pending:
                place.mark(PENDING_COMMANDS)
            if text is not None:
                if self.needs_backup():
                    place.link(place.name, place.name + BACKUP)
                place.write(text, int(self.item["mode"], 8))
            elif self.item["keep"] and self.has_backup:
                place.rename(place.name + BACKUP, place.name)
            else:
                place.remove(place.name)

    def undo(self) -> None:
        """Restore the former file, whichever step `apply` had reached; raises OSError."""
        try:
            with ParentDirectory(self.path) as place:
                if self.needs_backup():
                    if place.state(BACKUP) is not None:
                        place.rename(place.name + BACKUP, place.name)
                        place.remove(place.name + BACKUP)  # rename keeps it when both names are one file
                elif place.text() != self.before:
                    self.rewrite(place)
                if not self.commands_pending:
                    place.remove(place.name + PENDING_COMMANDS)
        except OSError as error:
            if error.errno not in NOT_FOUND:
                raise

    def rewrite(self, place: "ParentDirectory") -> None:
        """Write the former text, and move the backup to its former name."""
        if self.item["text"] is None and self.item["keep"] and self.has_backup and place.state(BACKUP) is None:
            place.rename(place.name, place.name + BACKUP)
        if self.before is None:
            place.remove(place.name)
        else:
            place.write(self.before, self.mode)

    def clear_pending_commands(self) -> None:
        """Remove the marker, because all commands have run."""
        try:
            with ParentDirectory(self.path) as place:
                place.remove(place.name + PENDING_COMMANDS)
        except OSError as error:
            if error.errno not in NOT_FOUND:
                raise


def remove_leftovers(path: str) -> None:
    """Remove the temporary files that killed runs have left beside a file; a file of a running process stays."""
    try:
        with ParentDirectory(path) as place:
            ending = "-" + place.name
            for name in names_of(place.descriptor):
                pid = name[len(TEMPORARY) : -len(ending)]
                is_temporary = name == TEMPORARY + pid + ending and pid.isdecimal()
                if is_temporary and start_time(int(pid)) is None:
                    place.remove(name)
    except OSError:  # such as a missing directory; what the user has put there is not the takeover's
        return


def empty_directories(directories: "list[str]", gone: "set[str]") -> "list[str]":
    """Return the directories that are empty without the paths in `gone`, the deepest first."""
    found = []  # type: list[str]
    for directory in sorted(directories, key=len, reverse=True):
        names = names_in(directory)
        if names is not None and not {os.path.join(directory, name) for name in names} - gone - set(found):
            found.append(directory)
    return found


def run(commands: "list[list[str]]", seconds: int) -> None:
    """Run commands one after the other; raise Problem with the output of the one that fails.

    A command with a path must be a program that only root and the acting user can change.
    """
    for command in commands:
        program = program_at(command[0]) if command[0].startswith("/") else command[0]
        status, printed, errors = output(start_command([program, *command[1:]]), time.monotonic() + seconds)
        if status is None:
            raise Problem(f"{' '.join(command)}: {errors}")
        if status != 0:
            shown = "\n".join(text for text in (last_lines(printed), errors) if text)
            raise Problem(f"{' '.join(command)} ended with {status}: {shown}")


def acting_user(wanted: "dict[str, Any]") -> "dict[str, Any] | None":
    """Return the acting user: that of the OBProxy's process, else the named one; None for root's files."""
    if not wanted["as_user"]:
        return None
    return user_of(wanted["process"]) if wanted["process"] else user_named(wanted["as_user"])


def written_paths(changes: "list[Change]") -> "list[str]":
    """Return the paths of the files that are written, not removed."""
    return [change.path for change in changes if change.item["text"] is not None]


def undo(changes: "list[Change]") -> str:
    """Restore the former files; return the errors."""
    left = []
    for change in changes:
        try:
            change.undo()
        except OSError as error:
            left.append(f"{change.path} could not be restored: {error}")
    return "; ".join(left)


def converge(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Write and remove files, run the commands, and return the changes.

    `wanted` has these keys:

    - files: a list of {path, text or None, mode, replace, directory_mode, keep, signature}
    - prune: directories to remove when they are empty
    - as_user: a user's name, or None for root's files
    - check, commands, process, seconds

    Raises Problem and OSError after the former files are restored; `half_done` of the Problem has those that could not.
    """
    process = wanted["process"]
    if process and start_time(process["pid"]) != process["started"]:
        raise Problem(f"the OBProxy with pid {process['pid']} has ended")
    user = acting_user(wanted)
    if user is not None:
        become(user)
    changes = [Change(item, bool(wanted["commands"])) for item in wanted["files"]]
    todo = [change for change in changes if change.is_needed()]
    owed = [change for change in changes if change.commands_pending]  # a run was killed before the commands
    begun = []  # type: list[Change]
    known = [why for why in map(writing_obstacle, written_paths(todo) if wanted["check"] else []) if why]
    if known:
        raise Problem("; ".join(known))
    # The step `finish` removes those of root. A program such as the agent could read one of its own.
    for change in changes if user is not None and not wanted["check"] else []:
        remove_leftovers(change.path)
    try:
        for change in [] if wanted["check"] else todo:
            begun.append(change)
            change.apply()
        run(wanted["commands"] if (todo or owed) and not wanted["check"] else [], wanted["seconds"])
    except (Problem, OSError) as error:
        problem = Problem(str(error))
        problem.half_done = undo(begun)
        raise problem from error
    for change in [] if wanted["check"] else todo + owed:
        change.clear_pending_commands()
    changed = [
        {"path": change.path, "before": change.before, "after": change.after}
        for change in todo + [change for change in owed if change not in todo]
    ]
    empty = empty_directories(wanted["prune"], {change.path for change in todo if change.item["text"] is None})
    for directory in [] if wanted["check"] else empty:
        with ParentDirectory(directory) as place:
            os.rmdir(place.name, dir_fd=place.descriptor)
    return {"changed": changed + [{"path": path, "before": "a directory\n", "after": None} for path in empty]}


def main(wanted: "dict[str, Any]") -> None:
    """Print what changed, or the problem, as one marked line."""
    set_program_timeout(wanted["seconds"] * (2 + len(wanted["commands"])))
    try:
        answer = converge(wanted)
    except (Problem, OSError) as problem:
        half_done = getattr(problem, "half_done", "")
        answer = {"changed": [], "problem": str(problem), "half_done": half_done}
    print(MARKER + json.dumps(answer))
