"""The store of an OBProxy's configuration: a SQLite file below etc/ of its home (docs/reference/obproxy.md 2.5)."""

import sqlite3
import time
from pathlib import Path

_LOCK_TRIES = 10
_LOCK_PAUSE = 0.1

_CREATE = """
create table if not exists proxy_config (
  vid text, vip text, vport text, tenant_name text, cluster_name text, name text primary key, value text,
  config_level text
)"""
_PUT = "insert or replace into proxy_config values ('-1', '', '0', '', '', ?, ?, 'LEVEL_GLOBAL')"
_ALL = "select vid, vip, vport, tenant_name, cluster_name, name, value, config_level from proxy_config order by rowid"
COLUMNS = ("vid", "vip", "vport", "tenant_name", "cluster_name", "name", "value", "config_level")


class StoreError(Exception):
    """The configuration could not be read or written: locked, full disk, no permission."""


class Store:
    """The file of one home; several processes may have it open at a time."""

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=_LOCK_PAUSE)
            # Written data survives the end of the process, which is all a simulation needs; fsync slows the start.
            self._connection.execute("pragma synchronous = off")
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def begin_exclusive(self) -> None:
        """Take the lock under which a start reads and merges; given up after ten tries.

        See docs/reference/obproxy.md 2.6.
        """
        for attempt in range(_LOCK_TRIES):
            try:
                self._connection.execute("begin exclusive")
                return
            except sqlite3.Error as error:
                if attempt == _LOCK_TRIES - 1:
                    raise StoreError(str(error)) from error
                time.sleep(_LOCK_PAUSE)

    def commit(self) -> None:
        self._execute("commit")

    def load(self) -> dict[str, str]:
        self._execute(_CREATE)
        return {row[5]: row[6] for row in self.rows()}

    def save(self, values: dict[str, str]) -> None:
        try:
            self._connection.executemany(_PUT, values.items())
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def rows(self) -> list[tuple[str, ...]]:
        return self._execute(_ALL).fetchall()

    def _execute(self, statement: str) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error
