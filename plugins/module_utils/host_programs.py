"""Programs for the host: source text on standard input, arguments as data, one marked line back."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

MARKER = "OBPROXY-RESULT "
RESULT_LIMIT = 1024 * 1024
# Programs and parts of programs whose functions another one needs, in the order in which they build on each other.
_FILE_PARTS = ("files", "users")
_PROCESS_PARTS = ("process_lifetime", "sockets", "processes")
_PARTS = {
    "converge": (*_FILE_PARTS, "process_lifetime"),
    "start": (*_FILE_PARTS, *_PROCESS_PARTS, "supervision", "start_checks", "undo_start"),
    "undo_start": (*_FILE_PARTS, *_PROCESS_PARTS, "supervision"),
    "supervision": (*_FILE_PARTS, *_PROCESS_PARTS),
    "restart": (*_FILE_PARTS, *_PROCESS_PARTS, "supervision", "start_checks", "undo_start", "start"),
    "answering_process": _PROCESS_PARTS,
    "drain": ("process_lifetime", "sockets"),
    "probe": (*_FILE_PARTS, *_PROCESS_PARTS, "supervision", "commands", "listeners"),
}


class NoResult(Exception):
    """The host sent no result."""


@cache
def _source(name: str) -> str:
    directory = Path(__file__).parent / "programs"
    return "\n\n".join((directory / f"{part}.py").read_text() for part in (*_PARTS.get(name, ()), name))


def program_text(name: str, arguments: dict[str, Any]) -> bytes:
    """The text for `python3 -IS -`: one of `programs` and the call of its main.

    The arguments travel base64-encoded: whatever they hold, they cannot become code
    (docs/reference/ansible-costs.md 4).
    """
    data = base64.b64encode(json.dumps(arguments).encode()).decode()
    return f'{_source(name)}\n\nimport binascii\nmain(json.loads(binascii.a2b_base64("{data}").decode()))\n'.encode()


def parse_result(output: str) -> dict[str, Any]:
    """The result in a program's output, whatever a login shell or sudo printed around it.

    Raises NoAnswer when there is none, or when it is longer than any honest host's.
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
