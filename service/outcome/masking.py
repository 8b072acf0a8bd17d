"""Taking secrets that are known out of text that people will read."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import quote

from service.outcome import ansible_results

SECRET_NAME = re.compile(
    r"(?:password|passwd|passphrase|pwd|secret|token|credential|(?:private|access|api)_key|_pass\b)"
    r"(?!.*_(?:file|path)$)",
    re.IGNORECASE,
)
SHORTEST = 4  # characters; masking anything shorter would tear ordinary text apart and hide nothing
SHORTEST_LINE = 16  # characters; of a secret of several lines each that is as long is one: a key's PEM text
MASK = "******"


class Hidden(str):
    """Text that is a secret whatever the name it goes by: it was encrypted by itself."""

    __slots__ = ()


def masker(variables: Iterable[Mapping[str, object]]) -> Callable[[str], str]:
    """A function that hides in a text the values of all `variables` that are secret: those whose name says so, with
    all that is in them, and `Hidden` ones. It knows them as they are and as they are spelled in JSON, in Python and
    in a URL, and the sha1 that lets in at an OBProxy as the password does (docs/reference/obproxy.md 4.3).
    """
    return hiding(secret for mapping in variables for secret in secrets_in(mapping))


def secrets_in(variables: Mapping[str, object]) -> Iterator[str]:
    """Return every secret in `variables`: values whose name says so, with all that is in them, and `Hidden` ones."""
    return _secrets(variables, within=False)


def hiding(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return a function that hides these secrets in a text, in all their forms."""
    found = {form for secret in secrets for form in _forms(secret) if len(form) >= SHORTEST}
    if not found:
        return str
    # The longest first: one secret may be the beginning of another.
    pattern = re.compile("|".join(re.escape(secret) for secret in sorted(found, key=len, reverse=True)))
    return lambda text: pattern.sub(MASK, text)


def _secrets(value: object, *, within: bool) -> Iterator[str]:
    """Every secret in `value`; `within` something that is called a secret, that is every text."""
    match value:
        case Mapping():
            for name, inner in value.items():
                yield from _secrets(inner, within=within or bool(SECRET_NAME.search(str(name))))
        case list() | tuple():
            for inner in value:
                yield from _secrets(inner, within=within)
        case str() if (within or isinstance(value, Hidden)) and len(value) >= SHORTEST:
            yield value
        case int() | float() if within and not isinstance(value, bool) and len(str(value)) >= SHORTEST:
            yield str(value)  # a password that YAML took for a number


def _forms(secret: str) -> Iterator[str]:
    """How a secret may be spelled."""
    yield secret
    yield secret.strip()  # a line break at its end is not printed with it
    yield ansible_results.clean(secret, len(secret))
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield quote(secret, safe="")
    yield hashlib.sha1(secret.encode(errors="replace"), usedforsecurity=False).hexdigest()
    lines = secret.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= SHORTEST_LINE)
