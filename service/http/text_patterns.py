"""Translates texts that have values in them, by a catalog whose messages have placeholders, such as `{1}` (pure)."""

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_LIMIT = 3  # texts within texts


class TextPatterns:
    """The messages of a catalog, as patterns of texts.

    A value stays as it is. That of a placeholder without a number is translated too, if the catalog has it.
    """

    def __init__(self, catalog: Mapping[str, str]) -> None:
        self._fixed = {text: string for text, string in catalog.items() if not _PLACEHOLDER.search(text)}
        patterns = [_Pattern(text, string) for text, string in catalog.items() if text not in self._fixed]
        self._patterns = sorted(patterns, key=lambda pattern: -pattern.weight)

    def translate(self, text: str) -> str:
        """Return the translation of a text, which may end with a full stop; the text itself if the catalog lacks it."""
        return self._translate(text.removesuffix("."), _LIMIT) or text

    def _translate(self, text: str, depth: int) -> str | None:
        if text in self._fixed:
            return self._fixed[text]
        for pattern in self._patterns:
            if (values := pattern.values(text)) is not None:
                return pattern.filled({name: self._value(name, value, depth) for name, value in values.items()})
        return None

    def _value(self, name: str, value: str, depth: int) -> str:
        translated = None if name.isdigit() or depth == 0 else self._translate(value, depth - 1)
        return translated or value


class _Pattern:
    """A message with placeholders, and its translation. `weight` is the number of its own characters."""

    def __init__(self, text: str, string: str) -> None:
        parts = _PLACEHOLDER.split(text)
        self._literals, self._names, self._string = parts[::2], parts[1::2], string
        self.weight = sum(map(len, self._literals))

    def values(self, text: str) -> dict[str, str] | None:
        """Return the values of a text by the name of their placeholder; None: it is no text of this pattern.

        A value is the shortest that fits, so the time is linear: values can come from a hostile host.
        """
        first, *others = self._literals
        last = others.pop()
        if not text.startswith(first) or not text.endswith(last) or len(text) < self.weight:
            return None
        position, end, values = len(first), len(text) - len(last), []
        for literal in others:
            start = text.find(literal, position, end)
            if start < 0:
                return None
            values.append(text[position:start])
            position = start + len(literal)
        return dict(zip(self._names, [*values, text[position:end]], strict=True)) if position <= end else None

    def filled(self, values: Mapping[str, str]) -> str:
        return _PLACEHOLDER.sub(lambda found: values[found[1]], self._string)
