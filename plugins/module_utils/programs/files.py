"""Part of host programs: safe access to files, without symbolic-link attacks and races.

A path is opened once, component by component, each relative to the file descriptor of its directory. Only root and the
acting user can change a directory on the path, so no other user can create a symbolic link there or win a race. Files
of another user are accessed in a process that has become that user.
"""

# importing pathlib takes a third of a program's time
# ruff: noqa: PTH115, PTH118, PTH120

import errno
import os
import stat

TEMPORARY = ".obproxy-takeover-"
TEXT_FILE_LIMIT = 2**20
LINK_LIMIT = 20
NAME_LIMIT = 1000  # of a directory
IS_LINK = "it is a symbolic link"
NO_FILE = "it is no regular file"
NOT_FOUND = (errno.ENOENT, errno.ENOTDIR)
SAFE_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DIRECTORY_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UntrustedPath(OSError):
    """The path is not a regular file, or a user other than root and the acting user can change it."""

    def __init__(self, reason: str, path: "str | None" = None) -> None:
        """Store the reason in `strerror`, as an error of the operating system has it."""
        super().__init__(errno.EPERM, reason, path)

    def __str__(self) -> str:
        """Return the error message."""
        return f"{self.filename} is not used: {self.strerror}" if self.filename else str(self.strerror)


def other_writers(state: "os.stat_result") -> str:
    """Return which users other than root and the acting user can change a file, empty for none."""
    me = os.geteuid()
    if state.st_uid not in (0, me):
        return f"it belongs to the user with number {state.st_uid}"
    if state.st_mode & stat.S_IWOTH:
        return "every user can write to it"
    is_own_group = me != 0 and state.st_gid == os.getegid()
    if state.st_mode & stat.S_IWGRP and not is_own_group:
        return f"the group with number {state.st_gid} can write to it"
    return ""


def is_shared(directory: "os.stat_result") -> bool:
    """Return whether the sticky bit protects the entries of a directory, as in /tmp."""
    return bool(directory.st_mode & stat.S_ISVTX and directory.st_uid in (0, os.geteuid()))


def is_own_directory(entry: "os.stat_result") -> bool:
    """Return whether an entry is a directory of root or of the acting user."""
    return stat.S_ISDIR(entry.st_mode) and entry.st_uid in (0, os.geteuid())


def step(at: int, name: str, path: str, create_mode: "int | None") -> "tuple[int, str]":
    """Return the file descriptor of a directory entry, or the target of a symbolic link."""
    state = os.fstat(at)
    reason = other_writers(state)
    if reason and not is_shared(state):  # not even the existence of an entry is checked
        raise UntrustedPath(f"of a directory on its way, {reason}", path)
    try:
        entry = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        if create_mode is None or reason:
            raise
        os.mkdir(name, create_mode, dir_fd=at)
        entry = os.stat(name, dir_fd=at, follow_symlinks=False)
    if reason and not is_own_directory(entry):
        raise UntrustedPath(f"of a directory on its way, {reason}", path)
    if stat.S_ISLNK(entry.st_mode):
        return -1, os.readlink(name, dir_fd=at)
    return os.open(name, DIRECTORY_FLAGS, dir_fd=at), ""


def open_directory(path: str, create_mode: "int | None" = None) -> int:
    """Return the file descriptor of a directory that only root and the acting user can change; raises OSError.

    With `create_mode`, missing directories are created.
    """
    at = walk(path, create_mode)
    reason = other_writers(os.fstat(at))
    if reason:
        os.close(at)
        raise UntrustedPath(reason, path)
    return at


def walk(path: str, create_mode: "int | None" = None) -> int:
    """Return the file descriptor of a directory whose path only root and the acting user can change; raises OSError.

    Other users may be able to change its entries.
    """
    at, links = os.open("/", DIRECTORY_FLAGS), 0
    rest = path.split("/")[::-1]
    try:
        while rest:
            name = rest.pop()
            if name in ("", "."):
                continue
            below, target = step(at, name, path, create_mode)
            if below < 0:
                links += 1
                if links > LINK_LIMIT:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                rest += target.split("/")[::-1]
                below = os.open("/", DIRECTORY_FLAGS) if target.startswith("/") else os.dup(at)
            os.close(at)
            at = below
    except BaseException:
        os.close(at)
        raise
    return at


class ParentDirectory:
    """The open directory of a file: its file `descriptor`, and the file's `name` in it. A context manager."""

    def __init__(self, path: str, create_mode: "int | None" = None) -> None:
        """Open the directory of the file; raises OSError."""
        above, _, self.name = path.rpartition("/")
        self.path = path
        self.descriptor = open_directory(above, create_mode)

    def __enter__(self) -> "ParentDirectory":
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the directory."""
        os.close(self.descriptor)

    def state(self, ending: str = "") -> "os.stat_result | None":
        """Return the status of the file, or of the name with a suffix; None when it does not exist."""
        try:
            return os.stat(self.name + ending, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def text(self, limit: int = TEXT_FILE_LIMIT) -> "str | None":
        """Return the text of the file, None when it does not exist; raises OSError when it is not a regular file."""
        try:
            state, text = read_regular(self.descriptor, self.name, limit, self.path)
        except FileNotFoundError:
            return None
        if state.st_size > limit:
            raise UntrustedPath(f"it is longer than {limit // 1024} KiB", self.path)
        return text

    def write(self, text: str, mode: int) -> None:
        """Write a text atomically: to a temporary file that is synchronised and renamed."""
        temporary = f"{TEMPORARY}{os.getpid()}-{self.name}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_FLAGS
            descriptor = os.open(temporary, flags, 0o600, dir_fd=self.descriptor)
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            self.rename(temporary, self.name)
        except BaseException:
            self.remove(temporary)
            raise

    def mark(self, ending: str) -> None:
        """Create an empty marker file beside the file."""
        flags = os.O_WRONLY | os.O_CREAT | SAFE_FLAGS
        os.close(os.open(self.name + ending, flags, 0o600, dir_fd=self.descriptor))

    def rename(self, name: str, new: str) -> None:
        """Rename an entry within the directory."""
        os.rename(name, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def link(self, name: str, new: str) -> None:
        """Give an entry a second name within the directory."""
        os.link(name, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove an entry of the directory if it exists."""
        try:  # noqa: SIM105
            os.unlink(name, dir_fd=self.descriptor)
        except FileNotFoundError:
            pass


def read_regular(directory: int, name: str, limit: int, path: "str | None" = None) -> "tuple[os.stat_result, str]":
    """Return the status and the text of a regular file in a directory, at most `limit` bytes; raises OSError.

    Nothing else is opened, because opening a device can have side effects.
    """
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        state = os.fstat(found)
        if not stat.S_ISREG(state.st_mode):
            raise UntrustedPath(IS_LINK if stat.S_ISLNK(state.st_mode) else NO_FILE, path)
        descriptor = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(found)
    with os.fdopen(descriptor, "rb") as file:
        return state, file.read(limit).decode("utf-8", "replace")


def names_of(directory: int) -> "list[str]":
    """Return the names in an open directory, at most NAME_LIMIT of them; raises OSError."""
    names = []
    with os.scandir(f"/proc/self/fd/{directory}/.") as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) == NAME_LIMIT:
                break
    return sorted(names)


def text_at(path: str, limit: int = TEXT_FILE_LIMIT) -> "str | None":
    """Return a file's text, None when it does not exist; raises OSError."""
    try:
        with ParentDirectory(path) as place:
            return place.text(limit)
    except OSError as error:
        if error.errno in NOT_FOUND:
            return None
        raise


def writing_obstacle(path: str) -> str:
    """Return why a file cannot be written, as far as that is known without writing; empty = no obstacle is known."""
    place = path.rpartition("/")[0] or "/"
    while place != "/":
        try:
            with ParentDirectory(place) as above:
                if above.state() is not None:  # the first directory on the way up that exists
                    break
        except OSError as error:
            if error.errno not in NOT_FOUND:
                return str(error)
        place = place.rpartition("/")[0] or "/"
    try:
        directory = open_directory(place)
    except OSError as error:
        return str(error)
    try:
        can_write = os.access(".", os.W_OK | os.X_OK, dir_fd=directory)
    finally:
        os.close(directory)
    return "" if can_write else f"{place} cannot be written to"


def names_in(path: str) -> "list[str] | None":
    """Return at most NAME_LIMIT names in a directory, None when it does not exist; raises OSError."""
    try:
        directory = open_directory(path)
    except OSError as error:
        if error.errno in NOT_FOUND:
            return None
        raise
    try:
        return names_of(directory)
    finally:
        os.close(directory)


def exists(path: str) -> bool:
    """Return whether a path exists, also as a dangling symbolic link; raises OSError."""
    try:
        with ParentDirectory(path) as place:
            return place.state() is not None
    except OSError as error:
        if error.errno in NOT_FOUND:
            return False
        raise


def program_at(path: str) -> str:
    """Return the resolved path of a program; raises OSError unless only root and the acting user can change it.

    Symbolic links are followed through directories that no other user can change.
    """
    for _ in range(LINK_LIMIT):
        with ParentDirectory(path) as place:
            state = place.state()
            if state is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if stat.S_ISLNK(state.st_mode):
                path = os.path.join(os.path.dirname(path), os.readlink(place.name, dir_fd=place.descriptor))
                continue
            reason = other_writers(state) if stat.S_ISREG(state.st_mode) else NO_FILE
            if reason or not os.access(place.name, os.X_OK, dir_fd=place.descriptor):
                raise UntrustedPath(reason or "it cannot be executed", path)
            return os.path.join(os.readlink(f"/proc/self/fd/{place.descriptor}"), place.name)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
