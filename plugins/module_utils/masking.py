"""The masking rule: decides which values are secret and masks them in text.

The service and the plugins of a run by hand share this file (`service/outcome/masking.py` is a link to it). It imports
only the standard library.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

SENSITIVE_WORDS = r"password|passwd|passphrase|pwd|secret|token|credential|(?:private|access|api)_key|_pass\b"
SECRET_NAME = re.compile(
    rf"(?:{SENSITIVE_WORDS})(?!.*_(?:file|path)$)",
    re.IGNORECASE,
)
MIN_SECRET_LENGTH = 4  # characters; masking shorter values would damage ordinary text and protect nothing
MIN_LINE_LENGTH = 16  # characters; longer lines of a multi-line secret are secrets too, such as PEM text
MASK = "***"

_ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Mask = Callable[[str], str]


class Hidden(str):
    """Text that is secret under any variable name, because Ansible Vault encrypted it in the inventory."""

    __slots__ = ()


def is_secret(name: str) -> bool:
    """Return whether the value of a variable or parameter with this name is secret."""
    return SECRET_NAME.search(name) is not None


def stage_one(password: str) -> str:
    """Return a password as OBProxy stores it: its SHA-1 as lower-case hex, empty for the empty password.

    The hash is enough to log in (docs/reference/obproxy.md 4.3).
    """
    return hashlib.sha1(password.encode(errors="replace"), usedforsecurity=False).hexdigest() if password else ""


def without_controls(text: str) -> str:
    """Return `text` without escape sequences and control characters, and with line feeds as line breaks."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def masker(variables: Iterable[Mapping[str, object]]) -> Mask:
    """Return a function that masks all secrets of `variables` in a text.

    Secrets are values with a secret name, everything nested in them, and `Hidden` text. They are masked as they are, as
    spelled in JSON, Python and URLs, and as the SHA-1 that OBProxy stores.
    """
    return hiding(secret for mapping in variables for secret in secrets_in(mapping))


def secrets_in(variables: Mapping[str, object]) -> Iterator[str]:
    """Yield every secret in `variables`: values with a secret name, everything nested in them, and `Hidden` text."""
    return _secrets(variables, within=False)


def hiding(secrets: Iterable[str]) -> Mask:
    """Return a function that masks these secrets in a text, in all their spellings."""
    secrets = list(secrets)
    found = {form for secret in secrets for form in _forms(secret) if len(form) >= MIN_SECRET_LENGTH}
    if not found:
        return str
    short_lines = {pattern for secret in secrets for pattern in _short_lines(secret)}
    # In reverse order, because a secret comes after those that it is a prefix of.
    pattern = re.compile("|".join([*map(re.escape, sorted(found, reverse=True)), *sorted(short_lines)]))
    return lambda text: pattern.sub(MASK, text)


def masked(value: Any, mask: Mask, *, within: bool = False) -> Any:
    """Return the same structure with masked texts and keys; `within` a secret name, numbers are masked too."""
    match value:
        case str():
            return mask(value)
        case Mapping():
            return {
                mask(key) if isinstance(key, str) else key: masked(inner, mask, within=within or is_secret(str(key)))
                for key, inner in value.items()
            }
        case list() | tuple():
            return [masked(inner, mask, within=within) for inner in value]
        case int() | float() if within and not isinstance(value, bool) and mask(str(value)) != str(value):
            return MASK
    return value


def _secrets(value: object, *, within: bool) -> Iterator[str]:
    """Yield every secret in `value`; `within` a secret name, every text and number is secret."""
    match value:
        case Mapping():
            for name, inner in value.items():
                yield from _secrets(inner, within=within or is_secret(str(name)))
        case list() | tuple():
            for inner in value:
                yield from _secrets(inner, within=within)
        case str() if (within or isinstance(value, Hidden)) and len(value) >= MIN_SECRET_LENGTH:
            yield value
        case int() | float() if within and not isinstance(value, bool) and len(str(value)) >= MIN_SECRET_LENGTH:
            yield str(value)  # a password that YAML parsed as a number


def _forms(secret: str) -> Iterator[str]:
    """Yield the spellings of a secret."""
    yield secret
    yield secret.strip()  # programs print it without its final line break
    yield without_controls(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(secret, safe="", errors="replace")
    yield stage_one(secret)
    yield from (line for line in _lines(secret) if len(line) >= MIN_LINE_LENGTH)


def _lines(secret: str) -> list[str]:
    """Return the lines of a secret that are not too short to mask."""
    return [line for line in map(str.strip, secret.splitlines()) if len(line) >= MIN_SECRET_LENGTH]


def _short_lines(secret: str) -> Iterator[str]:
    """Yield a pattern of two or more successive lines that are no secrets alone, if a secret has such lines.

    Output is cut between lines, and some messages have spaces in place of line breaks.
    """
    # In reverse order, as in `hiding`.
    lines = sorted({line for line in _lines(secret) if len(line) < MIN_LINE_LENGTH}, reverse=True)
    if len(lines) > 1:
        line = "|".join(map(re.escape, lines))
        yield rf"(?:{line})(?:(?:\s|\\[nr])+(?:{line}))+"
