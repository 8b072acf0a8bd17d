"""Ordinary clients behind whose back a takeover happens: served by the simulated observer, counted by the exporter."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from .fixtures import StartHost
from .instance import Instance
from .observations import PASSWORD
from .tunnel import Connection, query

_USER = "app@sys#obcluster"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with Instance(tmp_path / "home", observer=True) as instance:
        instance.first_start(password=PASSWORD, more="prometheus_sync_interval=1s")
        yield instance


def _client(port: int, host: str = "127.0.0.1", user: str = "app@sys#test") -> Connection:
    return pymysql.connect(host=host, port=port, user=user, password="any", read_timeout=60)


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        assert answer.status == 200
        return str(answer.read().decode())


def test_a_client_queries_and_sleeps(instance: Instance) -> None:
    with _client(instance.sql_port) as connection:
        assert query(connection, "select 1") == [(1,)]
        assert query(connection, "select connection_id()") == [(connection.thread_id(),)]  # type: ignore[no-untyped-call]
        started = time.monotonic()
        assert query(connection, "select sleep(0.3)") == [(0,)]
        assert time.monotonic() - started >= 0.3
        with pytest.raises(pymysql.err.ProgrammingError, match="1064"):
            query(connection, "select nonsense from nowhere")
        assert query(connection, "select 1") == [(1,)]


def test_a_sleeping_client_does_not_hold_up_another(instance: Instance) -> None:
    with _client(instance.sql_port) as sleeper, _client(instance.sql_port) as other:
        sleeper._execute_command(3, "select sleep(30)")  # type: ignore[attr-defined]
        started = time.monotonic()
        assert query(other, "select 1") == [(1,)]
        assert time.monotonic() - started < 30


def test_statements_sent_during_a_delayed_answer_wait_for_it(instance: Instance) -> None:
    with _client(instance.sql_port) as connection:
        connection._execute_command(3, "select sleep(0.2)")  # type: ignore[attr-defined]
        connection._execute_command(3, "select 7")  # type: ignore[attr-defined]
        connection._read_query_result()  # type: ignore[attr-defined]
        connection._next_seq_id = 1  # type: ignore[attr-defined]
        connection._read_query_result()  # type: ignore[attr-defined]
        assert connection._result.rows == ((7,),)  # type: ignore[attr-defined]


def test_metrics_count_clients_only(instance: Instance) -> None:
    with pymysql.connect(
        host="127.0.0.1", port=instance.sql_port, user="root@proxysys", password=PASSWORD
    ) as connection:
        query(connection, "show proxyconfig")
        assert "odp_" not in _metrics(instance.metrics_port)
    with _client(instance.sql_port) as connection:
        query(connection, "select 1")
        text = _metrics(instance.metrics_port)
    assert 'odp_current_session{ip="127.0.0.1",namespace="ODP",odpVersion="OceanBase 4.3.1.0"' in text
    assert 'sqlType="SELECT",slowQuery="false",sqlResult="success"} 1\n' in text


def test_nothing_else_is_served_at_the_exporter(instance: Instance) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{instance.metrics_port}/", timeout=60)


def test_many_clients_are_served_on_a_host(lab_host: StartHost) -> None:
    host = lab_host()
    clients = [_client(2883, host.address, _USER) for _ in range(20)]
    try:
        ids = {query(client, "select connection_id()")[0][0] for client in clients}
        assert len(ids) == 20
    finally:
        for client in clients:
            client.close()


def test_without_an_observer_a_client_is_dropped(lab_host: StartHost) -> None:
    host = lab_host()
    host.simulate(observer=False)
    with pytest.raises(pymysql.err.OperationalError, match="2013"):
        _client(2883, host.address, _USER)
