"""Part of host programs: runs commands with limits on time and output."""

# ruff: noqa: PTH119

import os
import pwd
import select
import shlex
import signal
import subprocess
import time

try:
    from .shown_text import last_lines
    from .users import become, user_of
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SHELLS = {"sh", "bash", "dash", "ksh", "zsh"}
OUTPUT_LIMIT = 64 * 1024  # bytes of one stream
NO_PACKAGE = ("is not owned by any package", "No such file or directory", "Permission denied")
CHECKED = "checked:all"


def start_command(arguments: "list[str]", user: "dict[str, Any] | None" = None) -> "subprocess.Popen[bytes] | OSError":
    """Start a command and return it, or the error; its output is read later, so that several run at once.

    With `user` the command runs as that user, without this program's environment.
    """

    def become_user() -> None:
        if user is not None:
            become(user)

    none, pipe = subprocess.DEVNULL, subprocess.PIPE
    environment = dict(os.environ if user is None else {"PATH": os.defpath}, LC_ALL="C")
    try:
        return subprocess.Popen(
            arguments,
            stdin=none,
            stdout=pipe,
            stderr=pipe,
            cwd="/",
            start_new_session=True,
            env=environment,
            preexec_fn=become_user,
        )
    except OSError as error:
        return error
    except subprocess.SubprocessError:
        return OSError(f"this program cannot act for the user of {arguments[-1]}")


def output(command: "subprocess.Popen[bytes] | OSError", deadline: float) -> "tuple[int | None, str, str]":
    """Return exit status, standard output and error of a command; status None with the reason when it has none.

    The end of the command counts, not that of its pipes: background processes of a login profile keep those open.
    """
    if isinstance(command, OSError):
        return None, "", str(command)
    texts = {command.stdout.fileno(): b"", command.stderr.fileno(): b""}  # type: ignore[union-attr]
    open_pipes = set(texts)
    reason = ""
    while not reason:
        ended = command.poll() is not None
        # After the end of the command, only the data already in the pipes is read.
        ready = select.select(list(open_pipes), [], [], 0 if ended or not open_pipes else 0.02)[0]
        for pipe in ready:
            data = os.read(pipe, 65536)
            texts[pipe] += data
            if not data:
                open_pipes.discard(pipe)
        if ended and not ready:
            break
        if not open_pipes and not ended:
            time.sleep(0.002)
        if time.monotonic() > deadline:
            reason = "it did not end within its time limit"
        if max(map(len, texts.values())) > OUTPUT_LIMIT:
            reason = f"it printed more than {OUTPUT_LIMIT // 1024} KiB"
    if reason:
        os.killpg(command.pid, signal.SIGKILL)
        command.wait()
    printed, errors = (text.decode("utf-8", "replace") for text in texts.values())
    command.stdout.close()  # type: ignore[union-attr]
    command.stderr.close()  # type: ignore[union-attr]
    return (None, printed, reason) if reason else (command.returncode, printed, last_lines(errors))


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
