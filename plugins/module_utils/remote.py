"""Programs for the host: source text on standard input, arguments as data, one marked line back."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

MARKER = "OBPROXY-RESULT "
LONGEST_ANSWER = 1024 * 1024
# Programs and parts of programs whose functions another one needs, in the order in which they build on each other.
_FILES = ("files", "users")
_GROUND = ("stop", "sockets", "processes")
_USES = {
    "converge": (*_FILES, "stop"),
    "start": (*_FILES, *_GROUND, "supervision", "settled", "withdraw"),
    "withdraw": (*_FILES, *_GROUND, "supervision"),
    "supervision": (*_FILES, *_GROUND),
    "restart": (*_FILES, *_GROUND, "supervision", "settled", "withdraw", "start"),
    "answerer": _GROUND,
    "drain": ("stop", "sockets"),
    "probe": (*_FILES, *_GROUND, "supervision", "commands", "listeners"),
}


class NoAnswer(Exception):
    """The host sent no result."""


@cache
def _source(name: str) -> str:
    directory = Path(__file__).parent / "programs"
    return "\n\n".join((directory / f"{part}.py").read_text() for part in (*_USES.get(name, ()), name))


def program(name: str, arguments: dict[str, Any]) -> bytes:
    """The text for `python3 -IS -`: one of `programs` and the call of its main.

    The arguments travel base64-encoded: whatever they hold, they cannot become code
    (docs/reference/ansible-costs.md 4).
    """
    data = base64.b64encode(json.dumps(arguments).encode()).decode()
    return f'{_source(name)}\n\nimport binascii\nmain(json.loads(binascii.a2b_base64("{data}").decode()))\n'.encode()


def answer_in(output: str) -> dict[str, Any]:
    """The result in a program's output, whatever a login shell or sudo printed around it.

    Raises NoAnswer when there is none, or when it is longer than any honest host's.
    """
    lines = [line for line in output.splitlines() if line.startswith(MARKER)]
    if not lines or len(lines[-1]) > LONGEST_ANSWER:
        raise NoAnswer
    try:
        answer = json.loads(lines[-1].removeprefix(MARKER))
    except (json.JSONDecodeError, RecursionError) as error:
        raise NoAnswer from error
    if not isinstance(answer, dict):
        raise NoAnswer
    return answer
