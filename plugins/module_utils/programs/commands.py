"""Part of host programs: reads the packages of the host, and the commands that the OBProxy's user finds."""

# ruff: noqa: PTH119

import os
import pwd
import shlex
import time

try:
    from .limited_command import output, start_command
    from .shown_text import last_lines
    from .users import user_of
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Any

SHELLS = {"sh", "bash", "dash", "ksh", "zsh"}
NO_PACKAGE = ("is not owned by any package", "No such file or directory", "Permission denied")
CHECKED = "checked:all"


def commands_probe(owner: str, commands: "list[str]") -> "list[str]":
    """Return the command that prints which commands a user's login shell does not find, one marked line each.

    Its last line confirms the execution, because a profile may replace the shell.
    """
    words = " ".join(shlex.quote(command) for command in commands)
    script = f'for c in {words}; do command -v "$c" >/dev/null 2>&1 || echo "missing:$c"; done; echo {CHECKED}'
    try:
        shell = pwd.getpwnam(owner).pw_shell
    except KeyError:
        return ["/bin/sh", "-lc", script]
    usable = os.path.basename(shell) in SHELLS
    return ["su", "-", owner] + ([] if usable else ["-s", "/bin/sh"]) + ["-c", script]


def missing_commands(command: "subprocess.Popen[bytes] | OSError", deadline: float) -> "dict[str, Any]":
    """Return which commands are missing, or in `commands_error` why that could not be read."""
    status, printed, errors = output(command, deadline)
    lines = printed.splitlines()
    checked = CHECKED in lines
    if checked:
        error = None
    elif status is None:
        error = errors
    elif status == 0 and not errors:
        error = "its profile ended or replaced the shell before the command"
    else:
        error = errors or f"exit status {status}"
    return {
        "missing_commands": [line[len("missing:") :] for line in lines if line.startswith("missing:")],
        "commands_checked": checked,
        "commands_error": error,
    }


def packages(
    installed: "subprocess.Popen[bytes] | OSError", owning: "subprocess.Popen[bytes] | OSError | None", deadline: float
) -> "dict[str, Any]":
    """Return the packages, that of the executable, and in `packages_error` why they could not be read.

    A host without rpm has no packages; one whose database is broken has unknown ones.
    """
    status, printed, errors = output(installed, deadline)
    absent = isinstance(installed, FileNotFoundError)
    error = None if absent or status == 0 else errors or f"rpm ended with status {status}"
    found = {"packages": sorted(printed.split()) if status == 0 else [], "package": None, "packages_error": error}
    if owning is not None:
        status, printed, errors = output(owning, deadline)
        if status == 0:
            found["package"] = printed.split()[0] if printed.split() else None
        elif not absent and not any(words in printed + errors for words in NO_PACKAGE):
            found["packages_error"] = error or errors or last_lines(printed) or f"rpm ended with status {status}"
    return found


def binary_version(found: "dict[str, Any]", user: "dict[str, Any]", deadline: float) -> str:
    """Return the output of `obproxy -V`, run as the OBProxy's user. It prints to standard error."""
    status, text, errors = output(start_command([f"/proc/{found['pid']}/exe", "-V"], user), deadline)
    return (text + errors)[:200] if status is not None else ""


def user_on_host(found: "dict[str, Any] | None") -> "dict[str, Any] | None":
    """Return the user of an OBProxy outside containers; None for root, whose files are not read."""
    if found is None or not found["exe"] or found["engine"]:
        return None
    try:
        return user_of(found)
    except OSError:
        return None


def packages_and_commands(wanted: "dict[str, Any]", found: "dict[str, Any] | None") -> "dict[str, Any]":
    """Return the packages and the missing commands of the OBProxy's user, read concurrently."""
    deadline = time.monotonic() + wanted["seconds"] * 0.6
    form = "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}\\n"
    installed = start_command(["rpm", "-qa", "--qf", form, "obproxy*"])
    user = user_on_host(found)
    owning = start_command(["rpm", "-q", "--qf", form, "-f", found["exe"]], user) if found and user else None
    owner = found["owner"] if found and user else wanted["owner"]
    missing = start_command(commands_probe(owner, wanted["commands"] or ["sh"]))
    answer = packages(installed, owning, deadline)
    answer.update(missing_commands(missing, deadline))
    is_unpackaged = found and user and not answer["package"]
    answer["binary_version"] = binary_version(found, user, deadline) if is_unpackaged else ""  # type: ignore[arg-type]
    return answer
