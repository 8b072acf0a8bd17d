"""The simulated OBProxy 1.9.1.1: what is known of versions before 4.0, by 3.2.3's rules.

See docs/reference/obproxy.md 4, 5.
"""

from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from .instance import Instance
from .replay import Replay
from .tunnel import Connection, query


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with Instance(tmp_path / "home", version="1.9.1.1", build="1919579.el7") as instance:
        instance.first_start()
        yield instance


@pytest.fixture
def connection(instance: Instance) -> Iterator[Connection]:
    # The password is empty until one is set.
    with Replay("127.0.0.1", {"2883": instance.sql_port}, "").connect() as connection:
        yield connection


def test_show_proxyconfig_has_five_columns(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("show proxyconfig")
        names = [column[0] for column in cursor.description]
        rows = {row[0]: row for row in cursor.fetchall()}
    assert names == ["name", "value", "info", "need_reboot", "visible_level"]
    assert rows["skip_proxy_sys_private_check"][1] == "True"
    assert rows["obproxy_sys_password"][1] == ""
    assert [name for name in rows if name.startswith("rpc_") or name == "client_session_id_version"] == []


def test_versions(instance: Instance, connection: Connection) -> None:
    assert query(connection, "select proxy_version()") == [("1.9.1.1",)]
    assert "ObProxy-OceanBase 1.9.1.1-1919579" in str(query(connection, "show proxyinfo binary")[0][1])
    assert instance.launch("-V").stderr.startswith("obproxy (OceanBase 1.9.1.1 1919579.el7)")


def test_a_password_is_hashed_and_acts_at_once(instance: Instance, connection: Connection) -> None:
    query(connection, "alter proxyconfig set obproxy_sys_password = 'New#1'")
    with pytest.raises(pymysql.err.OperationalError, match="1045"):
        Replay("127.0.0.1", {"2883": instance.sql_port}, "").connect()
    Replay("127.0.0.1", {"2883": instance.sql_port}, "New#1").connect().close()


def test_proxy_id_is_small(connection: Connection) -> None:
    with pytest.raises(pymysql.err.OperationalError, match="4147"):
        query(connection, "alter proxyconfig set proxy_id = 256")


def test_files(instance: Instance) -> None:
    assert (instance.home / "etc" / "proxyconfig.db").exists()
    assert "start up successful" in instance.log()
    assert "REBOOT" not in instance.log("obproxy_diagnosis.log")
    assert not instance.listens(instance.rpc_port)
