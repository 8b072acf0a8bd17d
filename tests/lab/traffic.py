"""Client traffic through a proxy, to detect interruptions."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pymysql

from tests.waiting import until

from .host import LabHost

USER = "app@sys#obcluster"
PAUSE = 0.02  # seconds between two queries of one connection
SLOW = 30.0  # seconds


@dataclass
class Traffic:
    """The results of the connections: the number of answers of each, and all errors."""

    answers: list[int]
    problems: list[str] = field(default_factory=list)
    longest: float = 0.0  # seconds the slowest answer took

    def wait_until_all_are_answered(self) -> None:
        """Wait until each connection has one more answer, or one has failed."""
        then = list(self.answers)
        until(
            lambda: self.problems or all(now > before for now, before in zip(self.answers, then, strict=True)),
            "a connection gets no answer",
        )


@contextmanager
def held(host: LabHost, connections: int = 20, slow: float = SLOW) -> Iterator[Traffic]:
    """Hold `connections` through the proxy of `host`, each sending queries without end and never connecting again.

    An answer that takes longer than `slow` seconds counts as none.
    """
    traffic = Traffic(answers=[0] * connections)
    stop = threading.Event()
    opened = [_connect(host, slow) for _ in range(connections)]
    threads = [
        threading.Thread(target=_query, args=(traffic, number, connection, stop), daemon=True)
        for number, connection in enumerate(opened)
    ]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        stop.set()
        for thread, connection in zip(threads, opened, strict=True):
            thread.join(slow)
            connection.close()


def _connect(host: LabHost, slow: float) -> "pymysql.Connection[pymysql.cursors.Cursor]":
    return pymysql.connect(
        host=host.address, port=host.sql_port, user=USER, password="app", connect_timeout=10, read_timeout=int(slow)
    )


def _query(
    traffic: Traffic, number: int, connection: "pymysql.Connection[pymysql.cursors.Cursor]", stop: threading.Event
) -> None:
    while not stop.is_set():
        begun = time.monotonic()
        try:
            with connection.cursor() as cursor:
                cursor.execute("select connection_id()")
                cursor.fetchall()
        except pymysql.Error as error:
            traffic.problems.append(f"connection {number}: {error!r}")
            return
        traffic.longest = max(traffic.longest, time.monotonic() - begun)
        traffic.answers[number] += 1
        stop.wait(PAUSE)
