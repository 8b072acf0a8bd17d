"""Task instances as tables in a terminal."""

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from service.cli import tables
from service.cli.client import Document
from service.outcome.failed_rules import FailedRule, RuleFailure


def text(table: Table) -> list[list[str]]:
    """Return the words of each line of a table, without its borders."""
    console = Console(width=120, record=True, file=StringIO())
    console.print(table)
    return [line.replace("│", " ").replace("┃", " ").split() for line in console.export_text().splitlines()]


@pytest.fixture
def documents() -> list[Document]:
    """Two task instances of one subtask."""
    return [
        {
            "id": number,
            "name": "Install obproxy",
            "hostName": f"odp-{number}",
            "status": "RUNNING",
            "creator": {"name": "anne"},
            "startTime": "2026-11-27T22:58:02Z",
            "subtasks": [{"id": 70 + number, "name": "Check", "status": "READY", "upstreams": [], "downstreams": []}],
        }
        for number in (1, 2)
    ]


def test_several_stand_beside_each_other_by_host(documents: list[Document]) -> None:
    lines = text(tables.subtasks_by_host(documents))
    assert ["odp-1", "odp-2"] in lines
    assert ["Subtask", "task", "1", "task", "2"] in lines
    assert ["Check", "○", "READY", "○", "READY"] in lines


def test_a_single_task_instance_has_a_column_of_subtask_ids(documents: list[Document]) -> None:
    assert ["71", "Check", "○", "READY"] in text(tables.subtasks_by_host(documents[:1]))


def test_a_list_has_the_host_of_each_task_instance(documents: list[Document]) -> None:
    found = [line for line in text(tables.task_list(documents)) if "odp-2" in line]
    assert found[0][:5] == ["2", "Install", "obproxy", "odp-2", "▶"]


def test_no_documents_give_an_empty_table() -> None:
    assert ["Subtask"] in text(tables.subtasks_by_host([]))


def test_failed_rules_are_a_list_with_labels() -> None:
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


def test_changes_on_the_host_are_a_table(documents: list[Document]) -> None:
    document = documents[0]
    assert tables.changes(document) is None
    change = {"what": "file", "name": "/etc/[a]", "after": "new", "needsRestart": True, "operation": "RETRY"}
    document["subtasks"][0]["changes"] = [change]
    shown = tables.changes(document)
    assert shown and ["Check", "(RETRY)", "file", "/etc/[a]", "-", "new", "needed"] in text(shown)
