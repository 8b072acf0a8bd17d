"""Part of host programs: runs commands with limits on time and output."""

import os
import select
import time

try:
    from .process_lifetime import kill_all_started_by
    from .shown_text import last_lines
    from .users import become
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import Any

OUTPUT_LIMIT = 64 * 1024  # bytes of one stream


def start_command(arguments: "list[str]", user: "dict[str, Any] | None" = None) -> "subprocess.Popen[bytes] | OSError":
    """Start a command and return it, or the error; its output is read later, so that several run at once.

    With `user` the command runs as that user, without this program's environment.
    """
    import subprocess  # takes half of a program's start, and most programs run no command

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
        kill_all_started_by(command.pid)
        command.wait()
    printed, errors = (text.decode("utf-8", "replace") for text in texts.values())
    command.stdout.close()  # type: ignore[union-attr]
    command.stderr.close()  # type: ignore[union-attr]
    return (None, printed, reason) if reason else (command.returncode, printed, last_lines(errors))
