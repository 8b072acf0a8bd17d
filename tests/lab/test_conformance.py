"""Checks the simulated OBProxy 4.3.1 against responses of a real one (docs/reference/obproxy-observed.md)."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import observations, test_hot_restart, test_lifecycle
from .instance import Instance, free_ports
from .observations import PASSWORD, Entry
from .replay import Replay


def _of(*setups: str) -> list[Entry]:
    return [entry for entry in observations.entries() if entry.setup in setups]


def _ports(instance: Instance, sql: str = "2883") -> dict[str, int]:
    return {sql: instance.sql_port, "2884": instance.metrics_port, "2885": instance.rpc_port}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with Instance(tmp_path / "home") as instance:
        yield instance


def test_every_entry_is_compared_or_has_a_reason() -> None:
    kinds = [observations.comparison(entry).partition(":") for entry in observations.entries()]
    compared = [kind for kind, _, _ in kinds if kind in ("handshake", "login", "command", "statement")]
    assert len(compared) > 400
    assert all(reason for kind, _, reason in kinds if kind == "skipped")
    for name in {detail for kind, _, detail in kinds if kind == "lifecycle"}:
        assert any(hasattr(module, f"test_{name}") for module in (test_lifecycle, test_hot_restart)), name


def test_no_exception_is_left_over() -> None:
    known = {entry.sql for entry in observations.entries()}
    tables = (
        observations.LOGIN_PASSWORDS,
        observations.COMMANDS,
        observations.INSTANCE_ROWS,
        observations.RECORDED_IN_PART,
        observations.SKIPPED,
        observations.LIFECYCLE,
    )
    assert [label for table in tables for label in table if label not in known] == []


def test_every_setup_is_replayed() -> None:
    replayed = {"A", "B", "B-multi", "C", "D", "D2", "E", "E2", "F", "F-restarted", "H", "H-restarted"}
    others = {e.setup for e in observations.entries() if e.setup not in replayed}
    assert {observations.comparison(e).partition(":")[0] for e in _of(*others)} <= {"skipped", "lifecycle"}


def test_greeting(instance: Instance) -> None:
    [entry] = [entry for entry in observations.entries() if observations.comparison(entry) == "handshake"]
    instance.first_start(password=PASSWORD)
    with socket.create_connection(("127.0.0.1", instance.sql_port), timeout=60) as connection:
        packet = connection.recv(4096)
    length, sequence, payload = int.from_bytes(packet[:3], "little"), packet[3], packet[4:]
    version, _, rest = payload[1:].partition(b"\0")
    seen = {
        "protocol": payload[0],
        "server_version": version.decode(),
        "capabilities": hex(int.from_bytes(rest[13:15] + rest[18:20], "little")),
        "charset": rest[15],
        "status": hex(int.from_bytes(rest[16:18], "little")),
        "auth_data_len": rest[20],
        "reserved10": rest[21:31].hex(),
        "after": rest[31:].hex(),
        "plugin": rest[44:-1].decode(),
        "seq": sequence,
        "len": length,
    }
    assert seen == {key: value for key, value in entry.result.items() if key != "thread_id"}
    assert rest[4:12] == b"a" * 8


def test_a_fresh_instance(instance: Instance) -> None:
    instance.first_start(password=PASSWORD, more="syslog_level=INFO,enable_cluster_checkout=false")
    assert Replay("127.0.0.1", _ports(instance), PASSWORD).differences(_of("A")) == []


def test_the_alter_sequence_and_values_that_survive_a_kill(instance: Instance) -> None:
    instance.first_start(password=PASSWORD, more="syslog_level=INFO,enable_cluster_checkout=false")
    ports = _ports(instance)
    assert Replay("127.0.0.1", ports, PASSWORD).differences(_of("B")) == []
    assert Replay("127.0.0.1", ports, PASSWORD, several=True).differences(_of("B-multi")) == []
    assert Replay("127.0.0.1", ports, PASSWORD).differences(_of("C")) == []
    instance.kill()
    instance.launch()
    instance.wait_until_listening()
    assert Replay("127.0.0.1", ports, PASSWORD).differences(_of("D")) == []
    instance.launch(*instance.port_arguments, "-o", "proxy_mem_limited=1G")
    assert Replay("127.0.0.1", ports, PASSWORD).differences(_of("D2")) == []


def test_the_built_in_password(instance: Instance) -> None:
    instance.first_start(name="x")
    assert Replay("127.0.0.1", _ports(instance, "3883"), "").differences(_of("E")) == []


def test_an_empty_password(instance: Instance) -> None:
    instance.first_start(password="", name="x", more="syslog_level=INFO")
    assert Replay("127.0.0.1", _ports(instance, "3883"), "").differences(_of("E2")) == []


def test_parameters_that_need_a_restart(instance: Instance) -> None:
    instance.first_start(password="", name="x")
    new_port = free_ports(1)[0]
    ports = {"3883": instance.sql_port, "4883": new_port}
    assert Replay("127.0.0.1", ports, "").differences(_of("H")) == []
    instance.kill()
    instance.launch()
    instance.wait_until_listening(new_port)
    assert Replay("127.0.0.1", {"4883": new_port}, "").differences(_of("H-restarted")) == []
