"""Limits of connections: the connection that has waited for its client the longest makes room for a new one."""

import asyncio
import logging
from dataclasses import dataclass
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.connection_limits import (
    HEALTH_RESERVE,
    OTHER_DESCRIPTORS,
    Connections,
    Limits,
    limits_for,
    log_exhausted_descriptors_once,
)

LIMITS = Limits(connections=6, busy=4, per_address=3, backlog=1)


@dataclass(eq=False)
class Opened:
    """A connection of a client."""

    client: tuple[str, int] | None
    idle_since: float | None = 0.0
    aborted: bool = False

    def abort(self) -> None:
        self.aborted = True


def connect(connections: Connections, address: str, *idle: float | None) -> list[Opened]:
    """Open connections from one address, each with the time since which it is idle."""
    opened = [Opened((address, port), since) for port, since in enumerate(idle)]
    for connection in opened:
        connections.add(connection)
    return opened


def test_an_address_with_too_many_loses_the_one_that_is_idle_the_longest() -> None:
    connections = Connections(LIMITS)
    (other,) = connect(connections, "192.0.2.2", 0.0)

    opened = connect(connections, "192.0.2.1", 2.0, 1.0, 3.0, 4.0)

    assert [connection.aborted for connection in opened] == [False, True, False, False]
    assert not other.aborted


def test_an_address_whose_connections_are_all_busy_gets_no_further_one() -> None:
    opened = connect(Connections(LIMITS), "192.0.2.1", None, None, None, 4.0)

    assert [connection.aborted for connection in opened] == [False, False, False, True]


def test_many_addresses_share_the_limit_of_the_process() -> None:
    connections = Connections(LIMITS)
    opened = [connect(connections, f"192.0.2.{number}", float(number))[0] for number in range(8)]

    assert [connection.aborted for connection in opened] == [True, True, *[False] * 6]


def test_a_trusted_proxy_has_no_limit_of_its_own() -> None:
    connections = Connections(LIMITS, trusted=[ip_network("192.0.2.0/24")])

    opened = connect(connections, "192.0.2.1", *[1.0] * 6)

    assert not any(connection.aborted for connection in opened)


def test_only_connections_with_a_request_in_progress_count_as_load() -> None:
    connections = Connections(LIMITS, trusted=[ip_network("192.0.2.0/24")])
    opened = connect(connections, "192.0.2.1", *[None] * 4, 1.0)
    assert not connections.is_overloaded

    opened[-1].idle_since = None
    assert connections.is_overloaded

    connections.discard(opened[0])
    assert not connections.is_overloaded


def test_a_closed_connection_leaves_its_place() -> None:
    connections = Connections(LIMITS)
    for _ in range(10):
        (opened,) = connect(connections, "192.0.2.1", None)
        connections.discard(opened)
        connections.discard(opened)

    assert not opened.aborted


@given(st.integers(min_value=1, max_value=100_000))
def test_connections_and_backlog_leave_descriptors_for_the_rest(descriptors: int) -> None:
    limits = limits_for(descriptors)

    assert 1 <= limits.per_address <= limits.busy < limits.connections
    assert limits.backlog >= 1
    if descriptors > OTHER_DESCRIPTORS + 3:
        assert limits.connections + limits.backlog <= descriptors - OTHER_DESCRIPTORS


def test_the_usual_number_of_descriptors_allows_all_connections() -> None:
    limits = limits_for(1024)

    assert (limits.connections, limits.busy) == (500 + HEALTH_RESERVE, 500)


async def test_exhausted_descriptors_are_logged_once_in_an_interval(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    loop = asyncio.get_running_loop()
    log_exhausted_descriptors_once(loop, lambda: now)
    context = {"message": "socket.accept() out of system resource", "exception": OSError(24, "Too many open files")}

    with caplog.at_level(logging.ERROR):
        for _ in range(1000):
            loop.call_exception_handler(context)
        assert len(caplog.records) == 1 and "Too many open files" in caplog.text
        now += 11
        loop.call_exception_handler(context)
        loop.call_exception_handler({"message": "anything else"})

    assert len(caplog.records) == 3
    assert "Traceback" not in caplog.text
