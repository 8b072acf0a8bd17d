"""Mutations of the named queries: another condition, order, limit, lock, join or DISTINCT.

A condition is replaced by a constant. An order is reversed, because rows without ORDER BY often come in order.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg.conninfo import make_conninfo

from scripts.mutants.mutations import Mutation, described
from scripts.mutants.subjects import Applied, Finders, Place
from service.store import sql

STATEMENT_TIMEOUT = 20.0  # seconds of a statement: without a condition, a recursive query does not end
TOKEN = re.compile(r"--[^\n]*|DISTINCT\s+FROM|'(?:[^']|'')*'|%\(\w+\)s|[\w.]+|\s+|.", re.DOTALL)
CONDITIONS = {"WHERE": "true", "ON": "true", "AND": "true", "WHEN": "true", "OR": "false"}
DROPPED = {"LIMIT", "OFFSET", "SKIP"}
LOCKS = {"UPDATE", "NO", "SHARE"}  # after FOR
STOPS = {*CONDITIONS, "THEN", "ELSE", "END", "JOIN", "LEFT", "CROSS", "ORDER", "GROUP", "LIMIT", "OFFSET", "FOR"}
STOPS |= {"RETURNING", "UNION", "FROM", "SELECT", "INSERT", "DO", "SET", ";"}


@dataclass(frozen=True)
class Variant(Mutation):
    """One changed file of queries, with the queries that differ."""

    queries: Mapping[str, str]


class _Recorded(dict[str, str]):
    """The queries, and the names of those that are used."""

    def __init__(self, queries: Mapping[str, str]) -> None:
        super().__init__(queries)
        self.used: set[Place] = set()

    def __getitem__(self, name: str) -> str:
        self.used.add(name)
        return super().__getitem__(name)


class Queries:
    """The named queries: a mutation replaces their texts. Tests of all mutations share one PostgreSQL."""

    def __init__(self) -> None:
        self._queries = _Recorded(sql.queries())

    @contextmanager
    def prepared(self) -> Iterator[Finders]:
        """Start the PostgreSQL server of all tests, which ends long statements; no import changes."""
        from service.store import embedded

        with TemporaryDirectory(prefix="takeover-pg-") as directory, embedded.running(Path(directory) / "pg") as url:
            os.environ["TEST_POSTGRES"] = make_conninfo(url, options=f"-c statement_timeout={STATEMENT_TIMEOUT}s")
            yield []

    def collected(self) -> None:
        """Give all modules that use queries the recorded ones."""
        for module in list(sys.modules.values()):
            if module is not sql and getattr(module, "queries", None) is sql.queries:
                module.queries = lambda: self._queries  # type: ignore[attr-defined]

    def used(self) -> set[Place]:
        """Return the queries that have been used since the last call."""
        found, self._queries.used = self._queries.used, set()
        return found

    def places(self, mutation: Mutation) -> tuple[set[Place], set[Place]]:
        """Return the changed queries."""
        assert isinstance(mutation, Variant)
        return set(mutation.queries), set()

    def apply(self, mutation: Mutation) -> Applied:
        """Replace the changed queries."""
        assert isinstance(mutation, Variant)
        self._queries.update(mutation.queries)
        return Applied.ALL


@dataclass(frozen=True)
class _Token:
    """A token that is no space and no comment, and the number of parentheses around it."""

    text: str
    start: int
    end: int
    depth: int

    @property
    def word(self) -> str:
        return self.text.upper()


def variants(file: Path) -> list[Mutation]:
    """Return the mutations of the queries of a file, in the order of lines."""
    source = file.read_text(encoding="utf-8")
    others = [other.read_text(encoding="utf-8") for other in sorted(sql.FOLDER.glob("*.sql")) if other != file]
    before = sql.named([source, *others])
    made: dict[str, Mutation] = {}
    for code in _changed(source):
        after = sql.named([code, *others])
        changed = {name: query for name, query in after.items() if query != before[name]}
        if changed and code not in made:
            made[code] = Variant(**vars(described(source, code)), queries=changed)
    return sorted(made.values(), key=lambda variant: variant.line)


def _changed(source: str) -> Iterator[str]:
    """Yield the source with one change after another."""
    tokens = _tokens(source)
    for number, token in enumerate(tokens[:-2]):
        for first, end, text in _changes(tokens, number, token.word):
            yield source[: tokens[first].start] + text + source[tokens[end - 1].end :]


def _changes(tokens: Sequence[_Token], number: int, word: str) -> Iterator[tuple[int, int, str]]:
    """Yield the changes of the clause that begins with a token: the numbers of a token and an end, and a text."""
    following = tokens[number + 1].word
    end = _end(tokens, number + 1, STOPS)
    if word == "ORDER":
        for key_end in _key_ends(tokens, number + 2, end):
            last = tokens[key_end - 1]
            yield key_end - 1, key_end, "" if last.word == "DESC" else f"{last.text} DESC"
    elif word in CONDITIONS and following != "CONFLICT" and tokens[number - 1].word != "DISTINCT":
        yield number + 1, end, CONDITIONS[word]
    elif word == "(" and tokens[end].word == "OR":
        yield number + 1, end, CONDITIONS["OR"]
    elif word == "DISTINCT":
        yield number, _end(tokens, number + 3, set()) + 1 if following == "ON" else number + 1, ""
    elif word == "LEFT":
        yield number, number + 1, ""
    elif word in DROPPED or (word == "FOR" and following in LOCKS):
        yield number, end, ""


def _tokens(source: str) -> list[_Token]:
    found: list[_Token] = []
    depth = 0
    for match in TOKEN.finditer(source):
        depth -= match[0] == ")"
        if not match[0].isspace() and not match[0].startswith("--"):
            found.append(_Token(match[0], match.start(), match.end(), depth))
        depth += match[0] == "("
    return found


def _end(tokens: Sequence[_Token], first: int, stops: set[str]) -> int:
    """Return the number of the token that ends what begins with a token: a stop, or a closing parenthesis."""
    depth = tokens[first].depth
    return next(
        number
        for number, token in enumerate(tokens[first:], first)
        if token.depth < depth or (token.depth == depth and token.word in stops)
    )


def _key_ends(tokens: Sequence[_Token], first: int, end: int) -> list[int]:
    """Return the ends of the keys of an ORDER BY."""
    depth = tokens[first].depth
    commas = (number for number in range(first, end) if (tokens[number].word, tokens[number].depth) == (",", depth))
    return [*commas, end]
