"""Start, stop and files of the simulated OBProxy.

Sources: docs/reference/obproxy.md 2, docs/reference/obproxy-observed.md "Process, files".

observations.LIFECYCLE maps recorded entries to these tests; test_hot_restart shows one more.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from tests.waiting import until

from .instance import RS_LIST, Instance, free_ports
from .observations import PASSWORD, PASSWORD_SHA1
from .replay import Replay, SpyConnection

_DEADLINE = 60.0  # seconds


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with Instance(tmp_path / "home") as instance:
        yield instance


def _connect(instance: Instance, password: str = PASSWORD) -> SpyConnection:
    return Replay("127.0.0.1", {"2883": instance.sql_port}, password).connect()


def _value(instance: Instance, name: str, password: str = PASSWORD) -> str:
    with _connect(instance, password) as connection, connection.cursor() as cursor:
        cursor.execute(f"show proxyconfig like '{name}'")
        return str(cursor.fetchall()[0][1])


def _alter(instance: Instance, name: str, value: str) -> None:
    with _connect(instance) as connection, connection.cursor() as cursor:
        cursor.execute(f"alter proxyconfig set {name} = '{value}'")


def test_first_start(instance: Instance) -> None:
    options = f"obproxy_sys_password={PASSWORD_SHA1}"
    long = ["--listen_port", str(instance.sql_port), "--prometheus_listen_port", str(instance.metrics_port)]
    long += ["--rpc_listen_port", str(instance.rpc_port), "--rs_list", RS_LIST, "--cluster_name", "test"]
    done = instance.launch(*long, "-n", "testapp", "-o", options)
    assert (done.returncode, done.stdout) == (0, "")
    assert options in done.stderr
    instance.wait_until_listening()
    for port in (instance.sql_port, instance.metrics_port, instance.rpc_port):
        assert instance.listens(port)
    made = {path.name for path in instance.home.iterdir()} - {"simulation.json"}
    assert made == {".conf", "control-config", "sharding-config", "etc", "log"}
    assert [path.name for path in (instance.home / "etc").iterdir()] == ["proxyconfig_v1.db"]
    assert len(list((instance.home / "log").iterdir())) == 11
    instance.wait_for_log("obproxy_diagnosis.log", "result: reboot success")
    [pid] = instance.pids()
    # Its starter is gone, so its parent is the first process or a subreaper; its session is its own.
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1] != str(os.getpid())
    assert os.getsid(pid) != os.getsid(0)


@pytest.mark.parametrize(
    ("arguments", "log"),
    [
        ((), "-4147"),
        (("-p", "PORT"), "-4147"),
        (("-p", "PORT", "-r", "garbage"), "-4002"),
        (("-p", "PORT", "-r", "127.0.0.1:2882:2881"), "-4002"),
        (("-p", "PORT", "-r", RS_LIST, "-c", ""), "empty cluster name ret=-4002"),
        (("-p", "PORT", "-r", RS_LIST, "-o", "proxy_mem_limited=1K"), "-4147"),
        (("-p", "PORT", "-r", RS_LIST, "-o", "syslog_level='INFO'"), "-4147"),
    ],
)
def test_start_that_fails(instance: Instance, arguments: tuple[str, ...], log: str) -> None:
    done = instance.launch(*(str(instance.sql_port) if item == "PORT" else item for item in arguments))
    assert done.returncode == 0
    instance.wait_until_gone()
    assert log in instance.log()
    assert "result: reboot failed" in instance.log("obproxy_diagnosis.log")
    assert not instance.listens(instance.sql_port)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-r", RS_LIST),
        ("-r", RS_LIST, "-o", "no_such_key=1,novalue"),
        ("-o", f"rootservice_list={RS_LIST},rootservice_cluster_name=test"),
        ("-o", "obproxy_config_server_url=http://127.0.0.1:9/services?Action=GetObProxyConfig&a=b"),
    ],
)
def test_start_with_little(instance: Instance, arguments: tuple[str, ...]) -> None:
    assert instance.launch(*instance.port_arguments, *arguments).returncode == 0
    instance.wait_until_listening()


@pytest.mark.parametrize("arguments", [("-p", "80"), ("-p", "abc"), ("-p", "70000"), ("--no-such-flag",)])
def test_bad_option(instance: Instance, arguments: tuple[str, ...]) -> None:
    done = instance.launch(*arguments, *instance.route_arguments())
    assert done.returncode == 0
    assert "--listen_port" in done.stderr
    assert [path.name for path in instance.home.iterdir()] == ["simulation.json"]
    assert instance.pids() == []


def test_local_bound_ip(instance: Instance) -> None:
    instance.launch(*instance.port_arguments, *instance.route_arguments(), "-o", "local_bound_ip=127.0.0.2")
    # The exporter is not concerned.
    instance.wait_until_listening(instance.metrics_port)
    for port in (instance.sql_port, instance.rpc_port):
        assert not instance.listens(port)
        socket.create_connection(("127.0.0.2", port), timeout=1).close()


def test_rpc_service_off(instance: Instance) -> None:
    instance.first_start(more="enable_obproxy_rpc_service=false")
    assert not instance.listens(instance.rpc_port)


def test_no_address(instance: Instance) -> None:
    # A network namespace of its own has no address at all.
    done = instance.launch(*instance.port_arguments, *instance.route_arguments(), under=("unshare", "-rn"))
    assert done.returncode == 0, done.stderr
    instance.wait_until_gone()
    assert "-4016" in instance.log()


def test_unwritable_home(instance: Instance) -> None:
    (instance.home / "etc").write_text("a file where a directory belongs; root may write anywhere else")
    done = instance.launch(*instance.port_arguments, *instance.route_arguments())
    assert done.returncode == 0
    instance.wait_until_gone()
    assert not (instance.home / "log").exists()


def test_a_rejected_start_stores_nothing(instance: Instance) -> None:
    """It leaves the file, so the file does not prove an earlier start."""
    instance.switches.write_text('{"fatal": {"syslog_level": "WDIAG"}}')
    routed = ("-p", str(instance.sql_port), "-r", RS_LIST)
    instance.launch(*routed, "-o", "work_thread_num=3,syslog_level=WDIAG")
    instance.wait_for_log("obproxy_diagnosis.log", "result: reboot failed")
    assert (instance.home / "etc" / "proxyconfig_v1.db").exists()
    instance.launch()
    instance.wait_for_log("obproxy.log", "neither rootservice_list nor obproxy_config_server_url")


def test_second_start(instance: Instance) -> None:
    instance.first_start(password=PASSWORD)
    [first] = instance.pids()
    assert instance.launch(*instance.port_arguments, "-o", "proxy_mem_limited=1G").returncode == 0
    until(lambda: instance.pids() == [first], "the second process still runs")
    assert "reboot failed" in instance.log("obproxy_diagnosis.log")
    assert _value(instance, "proxy_mem_limited") == "2G"
    instance.kill()
    instance.launch()
    instance.wait_until_listening()
    assert _value(instance, "proxy_mem_limited") == "1G"


@pytest.mark.parametrize("which", ["sql_port", "rpc_port"])
def test_busy_port(instance: Instance, which: str) -> None:
    with socket.create_server(("127.0.0.1", getattr(instance, which))):
        process = instance.foreground(*instance.port_arguments, *instance.route_arguments())
        assert process.wait(timeout=_DEADLINE) == 0
    assert "fail to listen" in instance.log()


def test_busy_exporter_port(instance: Instance) -> None:
    with socket.create_server(("0.0.0.0", instance.metrics_port)):  # noqa: S104
        instance.first_start(password=PASSWORD)
        assert _value(instance, "prometheus_listen_port") == str(instance.metrics_port)
    assert "fail to start the prometheus exporter" in instance.log()
    assert not instance.listens(instance.metrics_port)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGKILL, -9)])
def test_signal_in_the_foreground(instance: Instance, number: signal.Signals, status: int) -> None:
    process = instance.foreground(*instance.port_arguments, *instance.route_arguments())
    instance.wait_until_listening()
    process.send_signal(number)
    assert process.wait(timeout=_DEADLINE) == status


def test_printing(instance: Instance) -> None:
    version, usage, release = (instance.launch(flag) for flag in ("-V", "-h", "-R"))
    assert (version.returncode, usage.returncode, release.returncode) == (0, 0, 0)
    assert version.stderr.startswith("obproxy (OceanBase 4.3.1.0 1.el7)\nREVISION:")
    assert "--listen_port" in usage.stderr
    assert (release.stdout, version.stdout, usage.stdout) == ("1.el7.\n", "", "")


def test_sighup(instance: Instance) -> None:
    instance.first_start(password=PASSWORD)
    instance.signal(signal.SIGHUP)
    assert _value(instance, "app_name") == "testapp"


def test_sigterm(instance: Instance) -> None:
    instance.first_start(password=PASSWORD)
    idle = _connect(instance)
    started = time.monotonic()
    instance.signal(signal.SIGTERM)
    with pytest.raises(pymysql.err.OperationalError):
        while time.monotonic() - started < _DEADLINE:
            idle.ping(reconnect=False)
            time.sleep(0.02)
    closed = time.monotonic() - started
    instance.wait_until_gone()
    # Recorded: 0.6 s and 2.05 s.
    assert 0.3 < closed < time.monotonic() - started
    assert time.monotonic() - started > 1
    idle._force_close()  # type: ignore[attr-defined]


def test_exit_by_command(instance: Instance) -> None:
    instance.first_start(password=PASSWORD, more="proxy_hot_upgrade_check_interval=1s")
    _alter(instance, "proxy_local_cmd", "1")
    instance.wait_until_gone()
    instance.launch()
    instance.wait_until_listening()
    assert _value(instance, "proxy_local_cmd") == "0"


def test_kill_keeps_the_configuration(instance: Instance) -> None:
    instance.first_start(password=PASSWORD)
    _alter(instance, "observer_sys_password", "Ro#1")
    hashed = _value(instance, "observer_sys_password")
    _alter(instance, "obproxy_sys_password", "New#2")
    instance.kill()
    instance.launch()
    instance.wait_until_listening()
    assert _value(instance, "observer_sys_password", "New#2") == hashed


def test_command_line_wins(instance: Instance) -> None:
    instance.first_start(password=PASSWORD, more="proxy_mem_limited=3G")
    for arguments, wanted in ((("-o", "proxy_mem_limited=4G"), "4G"), ((), "4G")):
        instance.kill()
        instance.launch(*arguments)
        instance.wait_until_listening()
        assert _value(instance, "proxy_mem_limited") == wanted


def test_need_reboot(instance: Instance) -> None:
    instance.first_start(password=PASSWORD)
    [new_port] = free_ports(1)
    _alter(instance, "listen_port", str(new_port))
    assert _value(instance, "listen_port") == str(new_port)
    assert not instance.listens(new_port)
    instance.kill()
    instance.launch()
    instance.wait_until_listening(new_port)
    assert not instance.listens(instance.sql_port)
    instance.kill()
    instance.launch("--listen_port", str(instance.sql_port))
    instance.wait_until_listening()
    assert not instance.listens(new_port)


def test_without_a_port_it_listens_at_an_unexpected_one(tmp_path: Path) -> None:
    with Instance(tmp_path / "home") as instance:
        instance.launch(*instance.port_arguments[2:], *instance.route_arguments())
        instance.wait_until_listening(6688)


def test_kill_statement(instance: Instance) -> None:
    """Acknowledged for a known connection, which goes on working all the same."""
    instance.first_start(password=PASSWORD)
    with _connect(instance) as other, _connect(instance) as own, own.cursor() as cursor:
        thread_id = other.thread_id()  # type: ignore[no-untyped-call]
        for statement in (f"kill {thread_id}", f"kill proxysession {thread_id}"):
            assert cursor.execute(statement) == 0
        other.ping(reconnect=False)


def test_a_slow_start_a_rejected_parameter_and_a_sudden_end(instance: Instance) -> None:
    instance.switches.write_text('{"start_delay": 1, "refuse": ["proxy_mem_limited"]}')
    started = time.monotonic()
    instance.first_start(password=PASSWORD)
    assert time.monotonic() - started > 1
    with pytest.raises(pymysql.err.OperationalError, match="Invalid config"):
        _alter(instance, "proxy_mem_limited", "3G")
    instance.switches.write_text('{"read_only": true}')
    with pytest.raises(pymysql.err.OperationalError, match="Internal error"):
        _alter(instance, "proxy_mem_limited", "3G")
    assert _value(instance, "proxy_mem_limited") == "2G"
    instance.kill()
    instance.switches.write_text('{"die_after": 1}')
    instance.foreground().wait(_DEADLINE)
