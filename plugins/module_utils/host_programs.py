"""Assembles the programs that run on hosts, and parses their results.

A program is sent as source text on standard input. It prints one marked line of JSON.
"""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

MARKER = "OBPROXY-RESULT "
RESULT_LIMIT = 1024 * 1024
# Files of `programs` that a program consists of, in the order of their dependencies.
_FILE_PARTS = ("files", "users")
_PROCESS_PARTS = ("process_lifetime", "sockets", "processes")
_SUPERVISION_PARTS = (*_FILE_PARTS, *_PROCESS_PARTS, "crontabs", "supervision")
_PARTS = {
    "converge": (*_FILE_PARTS, "process_lifetime", "shown_text", "limited_command"),
    "homes": _FILE_PARTS,
    "start": (*_SUPERVISION_PARTS, "start_checks", "undo_start"),
    "undo_start": _SUPERVISION_PARTS,
    "supervision": _SUPERVISION_PARTS[:-1],
    "restart": (*_SUPERVISION_PARTS, "start_checks", "undo_start", "start"),
    "answering_process": _PROCESS_PARTS,
    "drain": ("process_lifetime", "sockets"),
    "probe": (*_SUPERVISION_PARTS, "shown_text", "limited_command", "commands", "listeners"),
}


class NoResult(Exception):
    """The host has sent no result."""


@cache
def _source(name: str) -> str:
    directory = Path(__file__).parent / "programs"
    return "\n\n".join((directory / f"{part}.py").read_text() for part in (*_PARTS.get(name, ()), name))


def program_text(name: str, arguments: dict[str, Any]) -> bytes:
    """Return the source text for `python3 -IS -`: a program and the call of its main.

    The arguments are base64-encoded, so they cannot be interpreted as code (docs/reference/ansible-costs.md 4).
    """
    data = base64.b64encode(json.dumps(arguments).encode()).decode()
    return f'{_source(name)}\n\nimport binascii\nmain(json.loads(binascii.a2b_base64("{data}").decode()))\n'.encode()


def parse_result(output: str) -> dict[str, Any]:
    """Return the result in a program's output, and ignore the output of a login shell or sudo around it.

    Raises NoResult when there is none, or when it is longer than RESULT_LIMIT.
    """
    lines = [line for line in output.splitlines() if line.startswith(MARKER)]
    if not lines or len(lines[-1]) > RESULT_LIMIT:
        raise NoResult
    try:
        answer = json.loads(lines[-1].removeprefix(MARKER))
    except (json.JSONDecodeError, RecursionError) as error:
        raise NoResult from error
    if not isinstance(answer, dict):
        raise NoResult
    return answer
