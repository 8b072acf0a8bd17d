"""Keeping secrets out of facts, results and messages."""

import hashlib
from collections.abc import Iterable
from typing import Any

MASK = "***"
# Parameters whose value alone is enough to log in somewhere (docs/reference/obproxy.md 4.3).
_SECRET_WORDS = ("password", "secret", "credential", "access_key")


def is_secret(parameter: str) -> bool:
    """Whether a parameter's value must not be shown."""
    return any(word in parameter.lower() for word in _SECRET_WORDS)


def stage_one(password: str) -> str:
    """How OBProxy stores a password: the lower-case hex of its sha1, empty for the empty one.

    See docs/reference/obproxy.md 4.3.
    """
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest() if password else ""


def scrub(value: Any, secrets: Iterable[str]) -> Any:
    """The same structure with every occurrence of a secret replaced, in keys too. Short secrets are left alone:
    replacing a one-letter password would destroy the text and thereby tell it."""
    words = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)
    return _scrub(value, words) if words else value


def _scrub(value: Any, words: list[str]) -> Any:
    if isinstance(value, str):
        for word in words:
            value = value.replace(word, MASK)
        return value
    if isinstance(value, dict):
        return {_scrub(key, words): _scrub(item, words) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_scrub(item, words) for item in value]
    return value
