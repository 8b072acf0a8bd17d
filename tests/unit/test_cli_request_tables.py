"""Tables and lines about requests for a terminal."""

from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from service.cli import request_tables

RULE = (
    'TASK_FAILED: Rule: nc is installed. Found: it is missing on {}. Fix: install nc. (Ansible task "Check", host {})'
)


def host(number: int, state: str, **more: Any) -> dict[str, Any]:
    about = {"hostId": number, "hostName": f"odp-{number}", "taskId": 100 + number, "operation": "EXECUTE"}
    return {**about, "state": state, "finishedSubtasks": 3, "subtaskCount": 12, **more}


def request(*hosts: dict[str, Any], status: str = "FAILED") -> dict[str, Any]:
    counts = dict.fromkeys(request_tables.URGENCY, 0)
    for each in hosts:
        counts[each["state"]] += 1
    return {"id": 12, "status": status, "duration": 52.13, "counts": counts, "hosts": list(hosts)}


def lines(table: Table, width: int = 200) -> list[str]:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return [" ".join(line.split()) for line in captured.get().splitlines()]


def failed(number: int, reason: str = RULE) -> dict[str, Any]:
    return host(number, "FAILED", subtask="Check if command exists", reason=reason.format(number, number))


def test_a_request_has_one_line_per_host() -> None:
    running = host(*(2, "SUCCESSFUL"), startTime="2026-11-29T08:00:00+00:00", finishTime="2026-11-29T08:00:04.25+00:00")

    assert lines(request_tables.hosts([failed(1), running, host(3, "WAITING")])) == [
        "HOST TASK STATE DONE DURATION SUBTASK",
        "odp-1 101 FAILED 3/12 - Check if command exists",
        "odp-2 102 SUCCESSFUL 3/12 4.2 s -",
        "odp-3 103 WAITING 3/12 - -",
    ]


def test_the_most_urgent_hosts_are_shown_where_there_is_little_room() -> None:
    found = [host(1, "SUCCESSFUL"), host(2, "WAITING"), failed(3), host(4, "RUNNING")]

    assert [line.split()[0] for line in lines(request_tables.hosts(found, limit=2))] == ["HOST", "odp-4", "odp-3"]


def test_a_narrow_terminal_shows_the_state_and_the_end_of_a_long_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "obproxy-production-frontend-zone-a-rack-0012-machine-{:05}"
    found = [host(1, "WAITING_FOR_HOST") | {"hostName": name.format(1)}, failed(2) | {"hostName": name.format(2)}]

    shown = lines(request_tables.hosts(found, limit=9), width=80)

    assert [line.split()[:4] for line in shown] == [
        ["HOST", "TASK", "STATE", "DONE"],
        ["obproxy-…012-machine-00001", "101", "WAITING_FOR_HOST", "3/12"],
        ["obproxy-…012-machine-00002", "102", "FAILED", "3/12"],
    ]
    assert name.format(1) in lines(request_tables.hosts(found))[1]


def test_the_summary_groups_the_failures_by_reason() -> None:
    document = request(*(failed(number) for number in range(1, 11)), failed(11, "UNREACHABLE: no route to odp-11"))

    assert list(request_tables.summary(document)) == [
        "Request 12: FAILED after 52.1 s. Hosts: 11 FAILED.",
        "",
        "10 hosts failed at Check if command exists: odp-1, odp-2, odp-3, odp-4, odp-5, odp-6, odp-7, odp-8 and 2 more",
        "    Rule:   nc is installed.",
        "    Found:  it is missing on 1.",
        "    Fix:    install nc.",
        "",
        "1 host failed at Check if command exists: odp-11",
        "    UNREACHABLE: no route to HOST",
    ]


def test_the_summary_of_a_stopped_rollout_names_the_command_to_resume() -> None:
    shown = list(request_tables.summary(request(host(1, "SUCCESSFUL"), host(2, "NOT_STARTED"), status="STOPPED")))

    assert shown[0] == "Request 12: STOPPED after 52.1 s. Hosts: 1 NOT_STARTED, 1 SUCCESSFUL."
    assert shown[-1].endswith("To go on: request retry 12")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (failed(1), "odp-1 101 FAILED at Check if command exists"),
        (host(2, "RUNNING", subtask="Sync obproxy parameter"), "odp-2 102 RUNNING"),
        (host(3, "NOT_STARTED"), "odp-3 103 NOT_STARTED"),
    ],
)
def test_a_line_in_a_pipe_changes_with_the_state_alone(shown: dict[str, Any], expected: str) -> None:
    assert request_tables.host_line(shown) == expected


def test_the_result_of_an_operation_names_the_rejected_hosts() -> None:
    result = {
        "accepted": [{"hostId": 1, "hostName": "odp-1", "taskId": 101}],
        "rejected": [{"hostId": 2, "hostName": "odp-2", "taskId": 102, "code": 4007, "message": "It is RUNNING."}],
    }

    assert list(request_tables.operation(result)) == ["1 accepted, 1 rejected", "odp-2 102: It is RUNNING."]
