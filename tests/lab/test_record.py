"""The record of the state before a takeover survives failures and retries in any order."""

import json
from typing import Any

import pytest

from tests.roles.playing import play

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .inventory import SYS_PASSWORD
from .states import ADOPTED_PASSWORD
from .test_draining import RESTART
from .tunnel import admin, query

GIVEN: dict[str, Any] = {"obproxy_current_sys_password": ADOPTED_PASSWORD}
BAD = {"obproxy_parameters": {"proxy_mem_limited": "3G", "slow_query_time_threshold": "99d"}}
RESTARTED = RESTART | {"obproxy_parameters": {"proxy_mem_limited": "3G", "work_thread_num": "9"}}


def recorded(host: LabHost) -> dict[str, Any]:
    return dict(json.loads(host.run("cat /var/lib/obproxy-takeover/before-2883.json")))


def parameters(lab: Lab, host: LabHost, password: str) -> dict[str, str]:
    with admin(lab, host, password) as connection:
        rows = {str(row[0]): str(row[1]) for row in query(connection, "show proxyconfig")}
    # Its former value is a hash, which SQL cannot set; json_config_* is what the proxy counts by itself.
    return {name: text for name, text in rows.items() if name != "observer_sys_password" and "json_config" not in name}


@pytest.mark.parametrize("runs", [[BAD, {}], [BAD, BAD, RESTARTED], [RESTARTED], [{}, RESTARTED, RESTARTED]])
def test_it_brings_everything_back(lab: Lab, lab_host: StartHost, runs: list[dict[str, Any]]) -> None:
    host = lab_host("other-password")
    before = parameters(lab, host, ADOPTED_PASSWORD)
    for variables in runs:
        run = play(lab, host, variables=GIVEN | variables)
        assert run.code == (2 if variables is BAD else 0), run.text
        assert {"parameters", "wished"} <= recorded(host).keys()
    assert recorded(host)["passwords"] is None, "a takeover that has succeeded forgets them"
    undone = play(lab, host, playbook="rollback", variables=GIVEN | RESTARTED)
    assert undone.code == 0, undone.failure(host)
    assert parameters(lab, host, ADOPTED_PASSWORD) == before
    assert "built-in password" in " ".join(undone.text.split()) and "it is unknown" not in undone.text


def test_a_rollback_restores_what_a_refresh_has_set(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("other-password")
    before = parameters(lab, host, ADOPTED_PASSWORD)
    assert play(lab, host, variables=GIVEN).code == 0
    refreshed = {"obproxy_parameters": {"proxy_mem_limited": "4G", "client_max_connections": "1234"}}
    assert play(lab, host, playbook="refresh", variables=refreshed, arguments=("--check",)).code == 0
    assert "later" not in recorded(host)
    run = play(lab, host, playbook="refresh", variables=refreshed)
    assert run.code == 0, run.failure(host)
    assert parameters(lab, host, SYS_PASSWORD).items() >= refreshed["obproxy_parameters"].items()
    assert recorded(host)["later"] == [refreshed["obproxy_parameters"]]

    by_hand = {"slow_query_time_threshold": "77ms"}
    with admin(lab, host, SYS_PASSWORD) as connection, connection.cursor() as cursor:
        cursor.execute("alter proxyconfig set slow_query_time_threshold = '77ms'")
    undone = play(lab, host, playbook="rollback", variables=GIVEN)
    assert undone.code == 0, undone.failure(host)
    assert parameters(lab, host, ADOPTED_PASSWORD) == before | by_hand
    changes = [change for _, result in undone.results(host) for change in result.get("changes", ())]
    assert [
        (change["name"], change["before"], change["after"]) for change in changes if change["what"] == "not_restored"
    ] == [("observer_sys_password", "***", "***"), ("slow_query_time_threshold", "77ms", "77ms")]


def test_one_that_has_lost_its_parameters_breaks_no_rollback(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    assert play(lab, host).code == 0
    host.run(
        "cd /var/lib/obproxy-takeover; python3 -c \"import json; r = json.load(open('before-2883.json'));"
        "[r.pop(key) for key in ('parameters', 'wished')]; json.dump(r, open('before-2883.json', 'w'))\""
    )
    undone = play(lab, host, playbook="rollback")
    assert undone.code == 0, undone.failure(host)
    assert "the record of the former values is incomplete" in undone.text


def test_an_error_response_is_reported_once_with_its_code(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    _, message = play(lab, host, variables=BAD).failure(host)
    assert message.count("(code 4147)") == 1


def test_a_retry_without_the_given_password_uses_the_recorded_one(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("other-password")
    assert play(lab, host, variables=GIVEN | BAD).code == 2
    run = play(lab, host)
    assert run.code == 0, run.failure(host)
    assert any("with the recorded password" in str(result.get("msg")) for _, result in run.results(host))
