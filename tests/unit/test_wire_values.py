"""Values that callers, the database, events and messages have: they never change."""

from enum import StrEnum

import pytest

from service.access import roles
from service.model import fleet, requests, states, tasks, transitions
from service.outcome import host_findings, run_progress
from service.outcome.server_facts import is_port


@pytest.mark.parametrize(
    "values",
    [
        *(fleet.HostStatus, fleet.ServerStatus, fleet.ServiceType, requests.RequestStatus, states.TaskState),
        *(tasks.Held, tasks.Operation, tasks.SubtaskStatus, tasks.TaskStatus),
        *(host_findings.Outcome, run_progress.Verdict, roles.Role),
    ],
)
def test_a_state_is_its_name(values: type[StrEnum]) -> None:
    assert [state.value for state in values] == [state.name for state in values]


def test_a_trigger_is_named_in_words() -> None:
    assert [str(trigger) for trigger in transitions.Trigger] == [
        trigger.name.lower().replace("_", " ") for trigger in transitions.Trigger
    ]


def test_ports_are_those_of_tcp() -> None:
    assert [port for port in (0, 1, 65535, 65536) if is_port(port)] == [1, 65535]
