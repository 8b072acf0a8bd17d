"""The masking rule: which values are secret, and how they are taken out of text that people will read.

The service and the plugins of a run by hand use this one file (`service/outcome/masking.py` is a link to it). It needs
nothing but Python.
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
SHORTEST = 4  # characters; masking anything shorter would tear ordinary text apart and hide nothing
SHORTEST_LINE = 16  # characters; of a secret of several lines each that is as long is one: a key's PEM text
MASK = "***"

_ESCAPES = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Mask = Callable[[str], str]


class Hidden(str):
    """Text that is a secret whatever the name it goes by: it was encrypted by itself."""

    __slots__ = ()


def is_secret(name: str) -> bool:
    """Return whether the value of a variable or parameter with this name must not be shown."""
    return SECRET_NAME.search(name) is not None


def stage_one(password: str) -> str:
    """Return how OBProxy stores a password: the lower-case hex of its sha1, empty for the empty one. It is enough to
    log in (docs/reference/obproxy.md 4.3)."""
    return hashlib.sha1(password.encode(errors="replace"), usedforsecurity=False).hexdigest() if password else ""


def without_controls(text: str) -> str:
    """Return `text` as it is shown: without escape sequences and control characters, with plain line breaks."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def masker(variables: Iterable[Mapping[str, object]]) -> Mask:
    """Return a function that hides in a text the values of all `variables` that are secret: those with a secret name,
    with all that is in them, and `Hidden` ones. It knows them as they are, as they are spelled in JSON, in Python and
    in a URL, and by the sha1 that OBProxy stores.
    """
    return hiding(secret for mapping in variables for secret in secrets_in(mapping))


def secrets_in(variables: Mapping[str, object]) -> Iterator[str]:
    """Return every secret in `variables`: values with a secret name, with all that is in them, and `Hidden` ones."""
    return _secrets(variables, within=False)


def hiding(secrets: Iterable[str]) -> Mask:
    """Return a function that hides these secrets in a text, in all their forms."""
    found = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
    if not found:
        return str
    # The longest first: one secret may be the beginning of another.
    pattern = re.compile("|".join(re.escape(secret) for secret in sorted(found, key=len, reverse=True)))
    return lambda text: pattern.sub(MASK, text)


def masked(value: Any, mask: Mask, *, within: bool = False) -> Any:
    """Return the same structure with its texts masked, keys too; `within` a secret name, numbers as well."""
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
    """Yield every secret in `value`; `within` a secret name, that is every text and number."""
    match value:
        case Mapping():
            for name, inner in value.items():
                yield from _secrets(inner, within=within or is_secret(str(name)))
        case list() | tuple():
            for inner in value:
                yield from _secrets(inner, within=within)
        case str() if (within or isinstance(value, Hidden)) and len(value) >= SHORTEST:
            yield value
        case int() | float() if within and not isinstance(value, bool) and len(str(value)) >= SHORTEST:
            yield str(value)  # a password that YAML took for a number


def _forms(secret: str) -> Iterator[str]:
    """Yield how a secret may be spelled."""
    yield secret
    yield secret.strip()  # a line break at its end is not printed with it
    yield without_controls(secret)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(secret, safe="", errors="replace")
    yield stage_one(secret)
    lines = secret.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= SHORTEST_LINE)
