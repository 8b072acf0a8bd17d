"""The record that a takeover writes before its first change, and how a rollback uses it."""

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.masking import MASK
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import former_values
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.listeners import FILE_LIMIT
from ansible_collections.obproxy.takeover.plugins.module_utils.rollback_record import (
    BUILT_IN,
    PROXYRO,
    SYS,
    Record,
    build_record,
    decrypt_passwords,
    desired_values,
    encrypt_passwords,
    former_passwords,
    is_built_in,
    is_complete,
    with_desired,
)

KEY = "Cluster#1"
FACTS: dict[str, Any] = {
    "running": True,
    "version": "4.3.1.0-1",
    "process": {"home": "/opt/taobao/install/obproxy-4.3.1.0", "pid": 7},
    "supervised": True,
    "packages": ["obproxy-4.3.1.0-1.el7.x86_64"],
    "login": "given",
    "local_fact": {"managed_by": "ocp"},
    "absent_directories": ["/var/lib/obproxy-takeover"],
    "parameters": {"proxy_mem_limited": "2G", SYS: MASK},
    "passwords_as_desired": {SYS: False, PROXYRO: False},
    "built_in_passwords": [PROXYRO],
    "discovery_arguments": {"sql_port": 2883},
}


def test_a_record_holds_former_and_settable_values() -> None:
    taken = build_record(
        FACTS, {"proxy_mem_limited": "3G", "enable_x": True, "proxy_id": 7, SYS: "Secret#1"}, "$ANSIBLE_VAULT"
    )
    same = {"running", "version", "supervised", "packages", "login", "local_fact", "absent_directories"}
    same |= {"parameters", "built_in_passwords"}
    assert taken == {key: FACTS[key] for key in same} | {
        "home": "/opt/taobao/install/obproxy-4.3.1.0",
        "wished": {"proxy_mem_limited": "3G", "enable_x": "true"},  # never what is per server or secret
        "passwords_as_wished": {SYS: False, PROXYRO: False},
        "passwords": "$ANSIBLE_VAULT",
    }


def test_a_record_of_a_host_without_an_obproxy() -> None:
    taken = build_record(FACTS | {"process": None, "running": False, "version": None}, {}, None)
    assert (taken["running"], taken["home"], taken["version"]) == (False, None, None)


def test_sealed_passwords_open_with_the_same_key_only() -> None:
    encrypted = encrypt_passwords({SYS: "Former#2", PROXYRO: ""}, KEY)
    assert encrypted is not None and "Former" not in encrypted and encrypted.startswith("$ANSIBLE_VAULT")
    assert decrypt_passwords({"passwords": encrypted}, KEY) == {SYS: "Former#2", PROXYRO: ""}
    assert decrypt_passwords({"passwords": encrypted}, "Another#1") == {}, "the cluster's password has changed since"
    assert decrypt_passwords({"passwords": encrypted}, None) == {}
    assert encrypt_passwords({SYS: "Former#2"}, KEY) != encrypted


@pytest.mark.parametrize(("passwords", "key"), [({}, KEY), ({SYS: "Former#2"}, None), ({SYS: "Former#2"}, "")])
def test_unsealable_values_are_not_kept(passwords: dict[str, str], key: str | None) -> None:
    assert encrypt_passwords(passwords, key) is None


@pytest.mark.parametrize("of", [None, {}, {"passwords": None}, {"passwords": "no vault at all"}])
def test_a_record_without_passwords(of: Record | None) -> None:
    assert decrypt_passwords(of, KEY) == {}


BOTH_NOW = {SYS: True, PROXYRO: True}
NOT_GIVEN: dict[str, str | None] = {SYS: None, PROXYRO: None}


def _recorded(encrypted: dict[str, str], **other: Any) -> Record:
    return {"login": "given", "passwords_as_wished": {}, "passwords": encrypt_passwords(encrypted, KEY)} | other


def test_sealed_passwords_come_back_proxyro_s_first() -> None:
    former, stays = former_passwords(_recorded({SYS: "Former#2", PROXYRO: "Former#3"}), BOTH_NOW, NOT_GIVEN, KEY)
    assert list(former.items()) == [(PROXYRO, "Former#3"), (SYS, "Former#2")]
    assert stays == {}


def test_given_values_override_the_record() -> None:
    given = NOT_GIVEN | {SYS: "Given#2"}
    former, _ = former_passwords(_recorded({SYS: "Former#2"}), {SYS: True}, given, KEY)
    assert former == {SYS: "Given#2"}


def test_a_record_that_has_no_desired_passwords_had_none() -> None:
    former, _ = former_passwords({"login": "empty"}, {SYS: True}, NOT_GIVEN, KEY)
    assert former == {SYS: ""}


def test_an_empty_password_needs_no_record() -> None:
    former, stays = former_passwords(_recorded({}, login="empty"), {SYS: True}, NOT_GIVEN, KEY)
    assert (former, stays) == ({SYS: ""}, {})


@pytest.mark.parametrize(
    ("before", "now"),
    [(BOTH_NOW, BOTH_NOW), ({}, {SYS: False, PROXYRO: False}), ({}, {})],
    ids=["was so before", "is not the cluster's", "nothing was desired"],
)
def test_unreplaced_values_stay_unchanged(before: dict[str, bool], now: dict[str, bool]) -> None:
    recorded = _recorded({SYS: "Former#2", PROXYRO: "Former#3"}, passwords_as_wished=before)
    assert former_passwords(recorded, now, NOT_GIVEN, KEY) == ({}, {})


def test_unknown_former_values_are_reported_with_their_owner() -> None:
    former, stays = former_passwords(_recorded({SYS: "Former#2"}), BOTH_NOW, NOT_GIVEN, "Changed#9")
    assert former == {}
    unknown = "is not restored: it is unknown (OBProxy stores only a hash); set obproxy_current"
    assert stays == {PROXYRO: f"{PROXYRO} {unknown}_proxyro_password", SYS: f"{SYS} {unknown}_sys_password"}


def test_the_password_that_it_is_built_with_is_recognised() -> None:
    recorded = _recorded({}, built_in_passwords=[PROXYRO])
    former, stays = former_passwords(recorded, {PROXYRO: True}, NOT_GIVEN, KEY)
    built_in = "it was OBProxy's built-in password, which only a start without a stored password sets"
    assert (former, stays) == ({}, {PROXYRO: f"{PROXYRO} is not restored: {built_in}"})
    known = _recorded({PROXYRO: "Former#3"}, built_in_passwords=[PROXYRO])
    assert former_passwords(known, {PROXYRO: True}, NOT_GIVEN, KEY)[0] == {PROXYRO: "Former#3"}


def test_the_hash_of_the_built_in_password_is_the_observed_one() -> None:
    rows = json.loads((Path(__file__).parents[1] / "lab/simulator/data/parameters.json").read_text())
    assert {name: default for name, _, default, *_ in rows if name in BUILT_IN} == BUILT_IN
    assert is_built_in(PROXYRO, BUILT_IN[PROXYRO])
    assert not is_built_in(PROXYRO, "") and not is_built_in(SYS, BUILT_IN[PROXYRO]) and not is_built_in(PROXYRO, None)


def test_a_record_includes_changes_of_later_runs() -> None:
    taken = build_record(FACTS, {"a": 1}, None)
    assert with_desired(taken, {"a": "1", SYS: "x"}) is taken
    assert desired_values({}) == [{}]
    later = with_desired(with_desired(with_desired(taken, {"b": True}), {"b": True}), {"c": 2})
    assert (
        desired_values(later) == [{"a": "1"}, {"b": "true"}, {"c": "2"}] and later["parameters"] is taken["parameters"]
    )


def test_a_record_of_many_synchronisations_can_still_be_read() -> None:
    """The discovery reads a file of the takeover up to a limit, and a host with a longer one can do nothing."""
    rows = json.loads((Path(__file__).parents[1] / "lab/simulator/data/parameters.json").read_text())
    record = build_record(FACTS | {"parameters": {row[0]: row[2] for row in rows}}, {}, None)
    desired = {row[0]: row[2] for row in rows[:30]}
    for number in range(300):
        record = with_desired(record, desired | {"client_max_connections": number})
    assert {values["client_max_connections"] for values in desired_values(record)[1:]} == set(map(str, range(300)))
    assert len(json.dumps(record, indent=2)) < FILE_LIMIT


def test_a_record_without_its_parameters_is_not_whole() -> None:
    taken = build_record(FACTS, {}, None)
    assert is_complete(taken)
    assert not is_complete({key: value for key, value in taken.items() if key != "parameters"})


def test_an_unusable_password_is_reported_without_it() -> None:
    former, stays = former_passwords(_recorded({PROXYRO: "it's"}), {PROXYRO: True}, NOT_GIVEN, KEY)
    assert former == {} and "quote" in stays[PROXYRO] and "it's" not in stays[PROXYRO]


def test_only_values_set_by_the_takeover_are_restored() -> None:
    desired_values: list[dict[str, object]] = [{"a": "3G", "b": "5s", "c": "True", "d": "1", "e": "1"}]
    before = {"a": "2G", "b": "5s", "c": "False", "d": "9", "z": "1"}
    now = {"a": "3072M", "b": "5s", "c": "True", "d": "7", "z": "2", "e": "1"}
    former, stays = former_values(desired_values, before, now)
    assert former == {"a": "2G", "c": "False"}, "b never changed, e was not there, z was never desired"
    assert stays == {"d": "d stays '7': it was changed after the takeover"}


def test_two_desired_values_of_one_takeover_both_count() -> None:
    """A retry may have other desired values than the run that made the record."""
    former, stays = former_values([{"a": "3"}, {"a": "4"}], {"a": "2"}, {"a": "4"})
    assert (former, stays) == ({"a": "2"}, {})


def test_an_unsettable_former_value_is_reported() -> None:
    former, stays = former_values([{"a": "3"}], {"a": "it's"}, {"a": "3"})
    assert former == {} and stays["a"].startswith("a stays '3': its former value contains a quote")


def test_never_per_server_or_secret_values() -> None:
    wish: dict[str, object] = {"proxy_id": "3", SYS: "x"}
    assert former_values([wish], {"proxy_id": "1", SYS: "y"}, {"proxy_id": "3", SYS: "x"}) == ({}, {})


def test_a_parameter_that_this_version_has_not_any_more() -> None:
    assert former_values([{"a": "3"}], {"a": "2"}, {}) == ({}, {})
