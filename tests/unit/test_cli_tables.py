"""Task instances as tables."""

from typing import Any

import pytest
from rich.console import RenderableType

from service.cli import tables
from service.cli.output import Format, print_table, table
from service.outcome.failed_rules import FailedRule, RuleFailure


@pytest.fixture
def text(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that returns the words of each line of a table."""

    def words(rendered: RenderableType) -> list[list[str]]:
        print_table(rendered)
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    return words


def task(number: int, state: str = "RUNNING", **more: Any) -> dict[str, Any]:
    """Return the document of a task instance of one subtask."""
    subtask = {"id": 70 + number, "name": "Check", "status": "READY", "upstreams": [], "downstreams": []}
    return {
        "id": number,
        "name": "Install obproxy",
        "hostName": f"odp-{number}",
        "state": state,
        "operation": "EXECUTE",
        "operations": [],
        "creator": {"name": "anne"},
        "createTime": "2026-11-27T22:58:02Z",
        "startTime": "2026-11-27T22:58:02Z",
        "subtasks": [{**subtask, "state": "QUEUED", "operation": "EXECUTE", "operations": []}],
        **more,
    }


def subtask_of(document: dict[str, Any], **values: Any) -> dict[str, Any]:
    document["subtasks"][0].update(values)
    return document


def test_a_task_instance_has_its_subtasks_with_their_ids(text: Any) -> None:
    lines = text(tables.task(task(1)))

    assert ["Task:", "1", "(Install", "obproxy)"] in lines and ["State:", "RUNNING"] in lines
    assert lines[-2:] == [["ID", "STATE", "DURATION", "SUBTASK"], ["71", "QUEUED", "-", "Check"]]


def test_a_list_has_the_host_and_the_state_of_each_task_instance(text: Any) -> None:
    header, line = text(table(tables.TASKS, [task(2, "ROLLED_BACK")]))

    assert header == ["ID", "HOST", "STATE", "DONE", "START", "BY", "NAME"]
    assert line[:4] == ["2", "odp-2", "ROLLED_BACK", "0/1"] and line[-3:] == ["anne", "Install", "obproxy"]


def test_a_wide_list_has_more_columns(text: Any) -> None:
    document = subtask_of(task(2, "FAILED", requestId=9, supersededBy=4), status="FAILED")
    header, line = text(table(tables.TASKS, [document], Format.WIDE))

    found = dict(zip(header, line, strict=False))
    assert (found["END"], found["REQUEST"], found["SUPERSEDED_BY"], line[-1]) == ("-", "9", "4", "Check")


@pytest.mark.parametrize(
    ("status", "state", "duration"),
    [
        ("PENDING", "PENDING", "-"),
        ("READY", "QUEUED", "-"),
        ("READY", "READY", "-"),
        ("PENDING", "ROLLED_BACK", "2.0"),
        ("SUCCESSFUL", "SUCCESSFUL", "2.0"),
        ("FAILED", "FAILED", "2.0"),
    ],
)
def test_a_subtask_has_the_duration_of_its_last_execution(text: Any, status: str, state: str, duration: str) -> None:
    times = {"startTime": "2026-11-27T22:58:02Z", "finishTime": "2026-11-27T22:58:04Z"}
    *_, line = text(tables.task(subtask_of(task(1), status=status, state=state, **times)))

    assert line[1:3] == [state, duration]


def test_what_a_task_instance_waits_for_is_named(text: Any) -> None:
    held = text(
        tables.task(
            task(1, "WAITING", heldBy="ROLLOUT", requestId=9, waitsFor=[5, 6], waitsForHosts=["odp-5", "odp-6"])
        )
    )

    assert ["Waits", "for:", "task", "5", "(odp-5),", "task", "6", "(odp-6)"] in held
    assert ["Held:", "because", "its", "batch", "has", "not", "started:", "request", "show", "9"] in held


def test_the_duration_is_from_the_first_start_to_the_last_end(text: Any) -> None:
    document = subtask_of(task(1, finishTime="2026-11-27T22:59:02.5Z"), startTime="2026-11-27T22:58:02Z")

    assert ["Duration:", "60.5", "s"] in text(tables.task(document))
    assert not [line for line in text(tables.task(task(1))) if line[:1] == ["Duration:"]], "nothing has started"


def test_failed_rules_are_a_list_with_labels(text: Any) -> None:
    failed = FailedRule(rule="the disk has 1 GiB free.", found="[0.2] GiB.", fix="remove old logs.")

    assert (
        text(tables.failed_rules(RuleFailure(rules=[failed, failed], task="")))
        == [
            ["Rule:", "the", "disk", "has", "1", "GiB", "free."],
            ["Found:", "[0.2]", "GiB."],
            ["Fix:", "remove", "old", "logs."],
        ]
        * 2
    )


def test_changes_on_the_host_are_a_table(text: Any) -> None:
    document = task(1)
    assert tables.changes(document) is None
    change = {"what": "file", "name": "/etc/[a]", "after": "new", "needsRestart": True, "operation": "RETRY"}
    document["subtasks"][0]["changes"] = [change]
    shown = tables.changes(document)
    assert shown
    assert text(shown)[1] == ["file", "/etc/[a]", "-", "new", "needed", "Check", "(RETRY)"]
