"""Records which paths the takeover's programs reach on a host, and as whom.

The host's Python notes each path before the real function gets it. A path relative to a descriptor is noted as where
the descriptor leads.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from .host import LabHost
from .hostile import write

_RECORDER = "/usr/local/lib/recorder.py"
_NOTES = "/var/tmp/reached"
_PYTHON = f"""#!/bin/sh
case "$1" in -IS) ;; *) exec /usr/bin/python3.11 "$@" ;; esac
exec /usr/bin/python3.11 -IS {_RECORDER}
"""
_PROGRAM = f"""
import builtins, os, subprocess, sys

notes = os.open("{_NOTES}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
readlink = os.readlink

def where(path, at):
    path = os.fsdecode(path)
    if at is not None:
        path = readlink("/proc/self/fd/%d" % at).rstrip("/") + "/" + path
    words = path.split("/")
    if words[:4] == ["", "proc", "self", "fd"] and len(words) > 4:
        path = "/".join([readlink("/".join(words[:5])), *words[5:]])
    return path

def note(what, path, at=None):
    if not isinstance(path, int):
        os.write(notes, ("%d %s %s\\n" % (os.geteuid(), what, where(path, at))).encode("utf-8", "replace"))

def noted(what, function):
    def call(path, *arguments, **options):
        note(what, path, options.get("dir_fd", options.get("src_dir_fd")))
        return function(path, *arguments, **options)
    return call

for name in ("open stat lstat access readlink statvfs listdir scandir mkdir rmdir rename replace link symlink unlink "
             "remove chdir chmod chown truncate utime execv execve").split():
    setattr(os, name, noted(name, getattr(os, name)))
builtins.open = noted("open", open)

class Started(subprocess.Popen):
    def __init__(self, arguments, *others, preexec_fn=None, **options):
        def before():
            if preexec_fn is not None:
                preexec_fn()
            for word in arguments:
                if word.startswith(("/", "./")):
                    note("execute", os.path.abspath(word))
        super().__init__(arguments, *others, preexec_fn=before, **options)

subprocess.Popen = Started
exec(compile(sys.stdin.read(), "program", "exec"), {{"__name__": "program"}})
"""
# Files of the kernel, and Python's own modules, which no program of the takeover chooses.
_LEFT_OUT = ("/proc/", "/sys/", "/usr/lib/python3", "pipe:", "socket:")
# Directories that another user than root can change.
_CHANGEABLE = "find / -xdev -type d '(' ! -user root -o -perm -2 -o -perm -20 ! -group root ')'"


@dataclass(frozen=True)
class Reach:
    """One path that a program has reached.

    user  the number of the user it acted as
    what  the function
    """

    user: int
    what: str
    path: str


def record(host: LabHost) -> None:
    """From now on the host notes what programs reach."""
    write(host, _RECORDER, _PROGRAM)
    write(host, "/usr/local/bin/recording-python", _PYTHON)
    host.run("ln -sf /usr/local/bin/recording-python /usr/bin/python3")


def reached(host: LabHost) -> list[Reach]:
    """Return the paths that programs have reached so far."""
    lines = host.run(f"cat {_NOTES}").splitlines()
    found = (Reach(int(user), what, path) for user, what, path in (line.split(" ", 2) for line in lines))
    return [one for one in found if not one.path.startswith(_LEFT_OUT)]


def changeable(host: LabHost) -> set[str]:
    """Return the directories on a host that another user than root can change, by now."""
    return set(host.run(_CHANGEABLE).splitlines())


def is_below(path: str, directories: set[str]) -> bool:
    """Return whether a path is below one of these directories."""
    return any(str(above) in directories for above in PurePosixPath(path).parents)
