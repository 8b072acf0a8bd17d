"""Client traffic through a proxy, to detect interruptions."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pymysql

from .host import LabHost

USER = "app@sys#obcluster"
PAUSE = 0.02  # seconds between two queries of one connection
SLOW = 30.0  # seconds after which an answer counts as none


@dataclass
class Traffic:
    """The results of the connections: the number of answers of each, and all errors."""

    answers: list[int]
    problems: list[str] = field(default_factory=list)
    longest: float = 0.0  # seconds the slowest answer took


@contextmanager
def held(host: LabHost, connections: int = 20) -> Iterator[Traffic]:
    """Hold `connections` through the proxy of `host`, each sending queries without end and never connecting again."""
    traffic = Traffic(answers=[0] * connections)
    stop = threading.Event()
    opened = [_connect(host) for _ in range(connections)]
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
            thread.join(SLOW)
            connection.close()


def _connect(host: LabHost) -> "pymysql.Connection[pymysql.cursors.Cursor]":
    return pymysql.connect(
        host=host.address, port=host.sql_port, user=USER, password="app", connect_timeout=10, read_timeout=int(SLOW)
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
