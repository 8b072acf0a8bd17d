"""Unique secrets, and the search for them in every place of this machine that can be read."""

import base64
import hashlib
import json
import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

_SYSTEM = ("pg_catalog", "information_schema")
PAUSE = 0.08  # seconds between two searches of all processes, which take a quarter of that


def plant(purpose: str) -> str:
    """Return a secret of this test alone, with characters that have several spellings and that an OBProxy accepts."""
    return f"Planted-{purpose}-{secrets.token_hex(6)}é#&1"


class Searcher:
    """Finds any of some secrets in bytes, by `name=secret`, whatever way they are spelled."""

    def __init__(self, **planted: str) -> None:
        forms = {form: name for name, secret in planted.items() for form in _forms(secret)}
        self._names = forms
        self._pattern = re.compile(b"|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))

    def find(self, content: bytes) -> set[str]:
        """Return the names of the secrets in a text."""
        return {self._names[found] for found in self._pattern.findall(content)}

    def within(self, *places: Path, leaving_out: Iterable[str] = ()) -> dict[str, set[str]]:
        """Files below some places, of whatever kind, that have one in them or in their names."""
        told: dict[str, set[str]] = {}
        for path in _files(places, set(leaving_out)):
            with suppress(OSError):
                found = self.find(str(path).encode(errors="surrogateescape"))
                found |= self.find(path.read_bytes()) if path.is_file() and not path.is_symlink() else set()
                if found:
                    told[str(path)] = found
        return told

    def in_database(self, url: str) -> tuple[dict[str, set[str]], int]:
        """Return the names of the secrets in tables, read row by row, all columns as text, and the number of rows."""
        told: dict[str, set[str]] = {}
        count = 0
        with psycopg.connect(url) as connection:
            names = connection.execute("SELECT schemaname, tablename FROM pg_tables").fetchall()
            for name in (sql.Identifier(*name) for name in names if name[0] not in _SYSTEM):
                for (row,) in connection.execute(sql.SQL("SELECT t::text FROM {} t").format(name)):
                    count += 1
                    if found := self.find(row.encode()):
                        told[f"{name.as_string()}: {row[:200]}"] = found
        return told, count

    def in_memory(self, pid: int) -> set[str]:
        """Return the names of the secrets in the memory of a process of this machine, if it has not ended."""
        found: set[str] = set()
        with (
            suppress(ProcessLookupError, FileNotFoundError),
            Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory,
        ):
            for start, end in _readable(pid):
                with suppress(OSError):  # unmapped meanwhile, or a device
                    memory.seek(start)
                    found |= self.find(memory.read(end - start))
        return found


def _readable(pid: int) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        addresses, rights, *_, name = [*line.split(None, 5), ""][:6]
        if rights.startswith("r") and not name.startswith(("[v", "/dev/")):
            start, end = addresses.split("-")
            yield int(start, 16), int(end, 16)


def _read(path: str) -> bytes:
    """Return the content of a file. The watcher reads thousands per second; `Path.read_bytes` takes twice the time."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - see above
        return file.readall()


def _forms(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield secret.encode("latin-1")  # as Python has it in memory
    yield from {raw, json.dumps(secret)[1:-1].encode(), quote(secret, safe="").encode(), raw.hex().encode()}
    yield hashlib.sha1(raw, usedforsecurity=False).hexdigest().encode()
    for offset in range(3):  # whatever stands before it; the ends are another's too
        encoded = base64.b64encode(b"\0" * offset + raw + b"\0" * 3)
        yield encoded[4 if offset else 0 : 4 * ((offset + len(raw)) // 3)]


def _files(places: Sequence[Path], leaving_out: set[str]) -> Iterator[Path]:
    for place in places:
        for directory, directories, names in os.walk(place):
            directories[:] = [name for name in directories if name not in leaving_out]
            yield from (Path(directory) / name for name in [*names, *directories] if name not in leaving_out)


class Watcher:
    """Reads the command line and environment of every process of this machine, lab hosts included, all the time.

    `own`: pids whose environment has a secret on purpose.
    """

    def __init__(self, searcher: Searcher, own: Iterable[int] = ()) -> None:
        self._found: dict[tuple[str, int, int], tuple[str, set[str]]] = {}  # by kind, pid and pid of what forked it
        self._clean: set[bytes] = set()  # most processes show the same in each round
        self.rounds = 0
        self.own = {os.getpid(), *own}
        self._searcher = searcher
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def found(self) -> dict[str, set[str]]:
        """The secrets that were found, by process. A new process may become one of `own` only afterwards."""
        return {
            f"{kind} of {pid}: {line}": names
            for (kind, pid, forked_by), (line, names) in [*self._found.items()]
            if kind == "command line" or self.own.isdisjoint((pid, forked_by))
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(PAUSE):
            self.rounds += 1
            for pid in psutil.pids():
                with suppress(psutil.Error, OSError):  # it has ended meanwhile
                    self._search_process(pid)

    def _search_process(self, pid: int) -> None:
        line = _read(f"/proc/{pid}/cmdline")
        for kind, content in {"command line": line, "environment": _read(f"/proc/{pid}/environ")}.items():
            if content in self._clean:
                continue
            if not (names := self._searcher.find(content)):
                self._clean.add(content)
                continue
            parent = psutil.Process(pid).ppid()
            # Until what was forked executes something, it shows the same as its parent.
            forked_by = parent if parent and line == _read(f"/proc/{parent}/cmdline") else 0
            shown = line.replace(b"\0", b" ")[:200].decode(errors="replace")
            self._found.setdefault((kind, pid, forked_by), (shown, set()))[1].update(names)
