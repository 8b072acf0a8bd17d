"""The comparison of two spellings of a parameter, and the values that ALTER PROXYCONFIG can carry."""

import re

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import (
    alter_statement,
    differences,
    is_same_value,
    seconds_of,
    text_of,
    unknown_names,
    why_not_settable,
)


@pytest.mark.parametrize(
    ("name", "current", "desired"),
    [
        ("proxy_mem_limited", "2G", "2048MB"),
        ("proxy_mem_limited", "2G", "2g"),
        ("proxy_mem_limited", "2G", "2048"),  # megabytes
        ("proxy_mem_limited", "2G", "2097152k"),
        ("log_dir_size_threshold", "64GB", "64g"),
        ("max_log_file_size", "1m", "1024k"),  # a kilobyte can only be a size, so the m is one too
        ("prometheus_sync_interval", "1m", "60s"),
        ("prometheus_sync_interval", "60s", "1m"),
        ("query_digest_time_threshold", "100ms", "100000us"),
        ("default_inactivity_timeout", "180000s", "50h"),
        ("config_server_refresh_interval", "60s", "60"),
        ("enable_metadb_used", "True", "true"),
        ("enable_metadb_used", "True", "1"),
        ("enable_metadb_used", "False", "off"),
        ("syslog_level", "INFO", "info"),
        ("work_thread_num", "8", "8"),
        ("app_name", "a b", "a b"),
    ],
)
def test_same(name: str, current: str, desired: str) -> None:
    assert is_same_value(name, current, desired)


@pytest.mark.parametrize(
    ("name", "current", "desired"),
    [
        ("proxy_mem_limited", "2G", "2047MB"),
        ("enable_metadb_used", "True", "false"),
        ("enable_metadb_used", "True", "yes please"),
        ("server_detect_mode", "1", "true"),  # an int whose value only looks like a boolean
        ("some_size_or_time", "1m", "60"),  # minutes or megabytes: not decidable, so it is set once
        ("proxy_idc_name", "bj", "BJ"),
        ("proxy_idc_name", "", "bj"),
        ("work_thread_num", "8", "128"),
        ("server_routing_mode", "random", "2G"),
        ("proxy_mem_limited", "9" * 5000, "2G"),
    ],
)
def test_different(name: str, current: str, desired: str) -> None:
    assert not is_same_value(name, current, desired)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("1ms", "1000us"), ("1s", "1000ms"), ("2m", "120s"), ("1h", "60m"), ("1h", "3600s"), ("1d", "86400s")),
        *(("1k", "1024b"), ("1mb", "1024kb"), ("1g", "1048576k"), ("1t", "1024g"), ("1p", "1024t")),
        *(("-2s", "-2000ms"), ("+2s", "2 s"), ("3", "+3"), ("1S", "1000MS"), ("9z", "9Z")),
    ],
)
def test_each_unit_has_its_size(one: str, other: str) -> None:
    amount, unit = re.fullmatch(r"([+-]?\d+)(.*)", other).groups()  # type: ignore[union-attr]

    assert is_same_value("any", one, other)
    assert is_same_value("any", other, one)
    assert not is_same_value("any", one, f"{int(amount) + 1}{unit}")


def test_booleans_have_five_spellings_each() -> None:
    spellings = {"True": ("true", "on", "YES", "t", "1"), "False": ("false", "off", "No", "f", "0")}
    for current, same in spellings.items():
        for spelling in (*spellings["True"], *spellings["False"]):
            assert is_same_value("any", current, spelling) == (spelling in same)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("5s", 5.0), ("5", 5.0), ("250ms", 0.25), ("1us", 1e-6), ("1M", 60.0), ("2h", 7200.0), ("1d", 86400.0)),
        *(("5x", None), ("", None), ("s", None), ("1g", None)),
    ],
)
def test_a_duration_is_read_in_seconds(value: str, seconds: float | None) -> None:
    assert seconds_of(value) == seconds


def test_a_value_of_500_bytes_and_a_name_of_128_characters_can_be_set() -> None:
    name = f"_{'9' * 127}"
    assert alter_statement(name, "x" * 500) == f"ALTER PROXYCONFIG SET {name} = '{'x' * 500}'"
    with pytest.raises(ValueError, match="is not a valid parameter name"):
        alter_statement(f"{name}9", "1")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a'b", "contains a quote or a backslash, which OBProxy cannot accept"),
        ("a\x1fb", "contains a control character"),
        ("x" * 501, "is longer than 500 bytes"),
        ("a X", None),
    ],
)
def test_the_reason_against_a_value_is_named(value: str, reason: str | None) -> None:
    assert why_not_settable(value) == reason


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (None, ""), (8, "8"), ("2G", "2G"), (1.5, "1.5")]
)
def test_yaml_values_become_text(value: object, text: str) -> None:
    assert text_of(value) == text


def test_differences_are_sorted_and_session_version_comes_first() -> None:
    current = {"client_session_id_version": "1", "a_mode": "1", "proxy_mem_limited": "2G", "work_thread_num": "4"}
    desired = {"work_thread_num": 8, "a_mode": 2, "client_session_id_version": 2, "proxy_mem_limited": "2048m"}
    found = differences(desired, current, ["work_thread_num"])
    assert [(one.name, one.before, one.after, one.needs_restart) for one in found] == [
        ("client_session_id_version", "1", "2", False),
        ("a_mode", "1", "2", False),
        ("work_thread_num", "4", "8", True),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("listen_port", "prometheus_listen_port", "rpc_listen_port", "proxy_id", "proxy_idc_name", "app_name"),
        *("local_bound_ip", "local_bound_ipv6_ip", "ip_listen_mode", "current_local_config_version"),
        *("proxy_local_cmd", "obproxy_sys_password", "observer_sys_password", "observer_sys_password1"),
        *("inspector_password", "any_token"),
    ],
)
def test_per_server_and_secret_parameters_are_never_set(name: str) -> None:
    assert differences({name: "9"}, {name: "1"}, []) == []


def test_unknown_names_are_reported_but_not_the_never_synced() -> None:
    assert unknown_names({"b": 1, "a": 1, "app_name": "x"}, {"b": "1"}) == ["a"]


def test_alter_is_always_quoted() -> None:
    assert alter_statement("proxy_mem_limited", "2G") == "ALTER PROXYCONFIG SET proxy_mem_limited = '2G'"
    assert alter_statement("proxy_idc_name", "") == "ALTER PROXYCONFIG SET proxy_idc_name = ''"


@pytest.mark.parametrize("value", ["it's", 'say "x"', "back\\slash", "back`tick", "line\nend", "x" * 501, "ü" * 251])
def test_values_outside_the_grammar_are_rejected(value: str) -> None:
    assert why_not_settable(value)
    with pytest.raises(ValueError, match="cannot be set"):
        alter_statement("init_sql", value)


@pytest.mark.parametrize("name", ["a b", "a=1", "", "1a", "a;b", "a'"])
def test_an_invalid_name_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid parameter name"):
        alter_statement(name, "1")
