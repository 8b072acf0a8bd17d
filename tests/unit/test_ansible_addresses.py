"""The address at which an OBProxy is reached: its own, and never that of another process."""

from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.addresses import (
    address_of,
    exporter,
    format_address,
    login_obstacle,
    named_ports,
    port_holder,
    reachable_address,
    sql_port_of,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.listeners import named_in

ALL, ALL6 = "0.0.0.0", "::"  # noqa: S104 - nothing is bound


@pytest.mark.parametrize(
    ("own", "foreign_addresses", "address"),
    [
        ([ALL], [], "127.0.0.1"),
        ([ALL6], [], "::1"),
        ([ALL, ALL6], [], "127.0.0.1"),
        (["10.0.0.7"], [], "10.0.0.7"),
        (["fd00::7"], [], "fd00::7"),
        (["::ffff:10.0.0.7"], [], "10.0.0.7"),
        (["10.0.0.7", "127.0.0.1"], [], "127.0.0.1"),
        # Another process has the loopback, or the same port everywhere.
        (["10.0.0.7"], ["127.0.0.1"], "10.0.0.7"),
        (["10.0.0.7"], [ALL], "10.0.0.7"),
        ([ALL], ["127.0.0.1"], None),
        ([ALL], ["::ffff:127.0.0.1"], None),
        ([ALL], [ALL], None),
        (["10.0.0.7"], ["10.0.0.7"], None),
        ([ALL, ALL6], ["127.0.0.1"], "::1"),
        ([ALL6], [ALL], "::1"),
        ([], ["127.0.0.1"], None),
        (["1::7", "20.0.0.1"], [], "20.0.0.1"),
        (["10.0.0.7", "::1"], [], "::1"),
        (["::ffff:7"], [], "::ffff:7"),  # no IPv4 address
    ],
)
def test_it_is_reached_where_it_alone_listens(
    own: list[str], foreign_addresses: list[str], address: str | None
) -> None:
    assert reachable_address(own, foreign_addresses) == address


def test_addresses_as_people_write_them() -> None:
    assert (format_address("10.0.0.7", 1), format_address("::1", 2883), format_address(None, 3)) == (
        "10.0.0.7:1",
        "[::1]:2883",
        "?:3",
    )


@pytest.mark.parametrize(
    ("proxy", "foreign_addresses", "why"),
    [
        (None, [], "no OBProxy listens on port 2883"),
        ({"engine": "docker"}, [], "pid 7 runs in a container (docker)"),
        (
            {"addresses": {"2883": [ALL, "127.0.0.1"]}},
            ["127.0.0.1", ALL],
            f"pid 7 listens at {ALL}, 127.0.0.1, and another process takes the connections: "
            f"it listens at 127.0.0.1, {ALL}",
        ),
        ({}, [], None),
    ],
)
def test_why_nothing_is_sent(proxy: dict[str, Any] | None, foreign_addresses: list[str], why: str | None) -> None:
    usual: dict[str, Any] = {"pid": 7, "ports": [2883], "addresses": {"2883": [ALL]}, "engine": None}
    found = login_obstacle(
        None if proxy is None else usual | proxy, 2883, {"foreign_addresses": {"2883": foreign_addresses}}
    )
    assert found == why


@pytest.mark.parametrize(
    ("owner", "user", "why"),
    [
        ("mallory", None, None),  # the inventory or a request names this port
        ("mallory", "admin", "pid 7 belongs to mallory, not to admin (obproxy_user)"),
        ("admin", "admin", None),
        ("root", "admin", None),
    ],
)
def test_whose_obproxy_gets_a_password(owner: str, user: str | None, why: str | None) -> None:
    proxy = {"pid": 7, "ports": [3883], "addresses": {"3883": [ALL]}, "engine": None, "owner": owner}
    assert login_obstacle(proxy, 3883, {"foreign_addresses": {}}, user) == why


@pytest.mark.parametrize(
    ("parameters", "ports"),
    [
        ({}, []),
        ({"prometheus_listen_port": "2884"}, [2884]),
        ({"prometheus_listen_port": "2884", "rpc_listen_port": "2885"}, [2884]),
        ({"prometheus_listen_port": "1", "rpc_listen_port": "2", "enable_obproxy_rpc_service": "True"}, [1, 2]),
        ({"rpc_listen_port": "2885", "enable_obproxy_rpc_service": "False"}, []),
        (
            {"prometheus_listen_port": "65535", "rpc_listen_port": "65536", "enable_obproxy_rpc_service": "True"},
            [65535],
        ),
        ({"prometheus_listen_port": "65536"}, []),
        ({"prometheus_listen_port": "\N{ARABIC-INDIC DIGIT THREE}"}, []),
    ],
)
def test_the_ports_that_a_configuration_names(parameters: dict[str, str], ports: list[int]) -> None:
    assert named_ports(parameters) == ports


@pytest.mark.parametrize(
    ("command_line", "ports", "inside", "port"),
    [
        ("./bin/obproxy -p 3883 -n a", [3883, 3884], [], 3883),
        ("./bin/obproxy -p3883", [3883], [], 3883),
        ("./bin/obproxy --listen_port 3883", [2883, 3883], [], 3883),
        ("./bin/obproxy -o prometheus_listen_port=3884,listen_port=3885", [3884, 3885], [], 3885),
        ("./bin/obproxy -p 3883", [], [], 3883),
        ("./bin/obproxy -p 3883", [], [3883, 3884], 3883),
        ("./bin/obproxy -p 9999", [2883, 2884], [], 2883),  # a stored parameter overrides the command line
        ("./bin/obproxy", [2884, 3883], [], 3883),
        ("./bin/obproxy -l 3001", [3001, 3002], [], 3002),
        ("./bin/obproxy", [2884], [], 2883),
        ("./bin/obproxy", [], [], 2883),
        ("./bin/obproxy", [2000, 2883], [], 2883),
        ("./bin/obproxy -p 1", [], [], 1),
        ("./bin/obproxy -p 65535", [], [], 65535),
        ("./bin/obproxy -p 0", [], [], 2883),
        ("./bin/obproxy -p 65536", [], [], 2883),
        (f"./bin/obproxy -p {'9' * 1900}", [], [], 2883),
    ],
)
def test_the_sql_port_of_a_process(command_line: str, ports: list[int], inside: list[int], port: int) -> None:
    assert sql_port_of({"named": named_in(command_line), "ports": ports, "ports_inside": inside}) == port


def host(**other: Any) -> dict[str, Any]:
    return {"listeners": {}, "holders": {}, "foreign_addresses": {}} | other


LISTENING: dict[str, Any] = {"pid": 7, "ports": [2883, 2884], "addresses": {"2883": [ALL], "2884": [ALL6]}}
FOUND = {"pid": 3, "comm": "nginx", "exe": "/usr/sbin/nginx", "owner": "www", "unreadable": ""}
NOT_SEARCHED = {"pid": None, "comm": "", "exe": "", "owner": "www", "unreadable": ""}


def test_an_address_is_known_where_the_process_listens() -> None:
    assert address_of(LISTENING, 2884, host()) == "::1"
    assert address_of(LISTENING, 2884, host(foreign_addresses={"2884": ["::1"]})) is None
    assert address_of(LISTENING, 3883, host()) is None
    assert address_of(None, 2883, host()) is None


@pytest.mark.parametrize(
    ("holder", "description"),
    [
        (FOUND, "nginx (pid 3, owner www)"),
        (FOUND | {"unreadable": "Permission denied"}, "nginx (pid 3, owner www)"),
        (FOUND | {"comm": "", "pid": None}, "a process (pid not found, owner www)"),
        (
            FOUND | {"pid": None, "unreadable": "Permission denied"},
            "nginx (pid not found, owner www, whose sockets could not be read: Permission denied)",
        ),
    ],
)
def test_the_process_that_holds_a_port_is_described(holder: dict[str, Any], description: str) -> None:
    assert port_holder(80, host(holders={"80": holder})) == holder | {"description": description}


def test_only_the_user_is_known_of_a_process_that_was_not_searched() -> None:
    known = NOT_SEARCHED | {"description": "a process (pid not found, owner www)"}
    assert port_holder(80, host(listeners={"80": "www"})) == known
    assert port_holder(80, host(listeners={"81": "www"})) is None


@pytest.mark.parametrize(
    ("process", "parameters", "found", "expected"),
    [
        (LISTENING, {}, {}, {"port": 2884, "held_by": "proxy", "holder": None, "address": "::1"}),
        (
            LISTENING,
            {"prometheus_listen_port": "2883"},
            {},
            {"port": 2883, "held_by": "proxy", "holder": None, "address": "127.0.0.1"},
        ),
        (
            LISTENING,
            {"prometheus_listen_port": "4884"},
            {},
            {"port": 4884, "held_by": "none", "holder": None, "address": None},
        ),
        (
            None,
            {},
            {"holders": {"2884": FOUND}},
            {
                "port": 2884,
                "held_by": "other",
                "holder": FOUND | {"description": "nginx (pid 3, owner www)"},
                "address": None,
            },
        ),
    ],
)
def test_the_port_of_the_exporter_and_its_holder(
    process: dict[str, Any] | None, parameters: dict[str, str], found: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert exporter(process, parameters, host(**found)) == expected


@pytest.mark.parametrize("value", ["", "2884x", "-1", "0", "65536", "9" * 5000])
def test_an_invalid_port_of_the_exporter_is_the_default_one(value: str) -> None:
    assert exporter(None, {"prometheus_listen_port": value}, host())["port"] == 2884
