"""Taking secrets that are known out of text that people will read."""

import re
from collections.abc import Callable, Iterable, Mapping

SECRET_NAME = re.compile(r"password|passwd|secret|token|private_key|_pass\b", re.IGNORECASE)
SHORTEST = 4  # characters; masking anything shorter would tear ordinary text apart and hide nothing
MASK = "******"


def masker(variables: Iterable[Mapping[str, object]]) -> Callable[[str], str]:
    """A function that hides the values of all `variables` whose name says that they are secret."""
    found = {
        value
        for mapping in variables
        for name, value in mapping.items()
        if isinstance(value, str) and len(value) >= SHORTEST and SECRET_NAME.search(name)
    }
    if not found:
        return str
    # The longest first: one secret may be the beginning of another.
    pattern = re.compile("|".join(re.escape(secret) for secret in sorted(found, key=len, reverse=True)))
    return lambda text: pattern.sub(MASK, text)
