"""Task instances as tables in a terminal."""

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from service.cli import tables
from service.cli.client import Document


def text(table: Table) -> list[list[str]]:
    """The words of each line, without what the table is drawn with."""
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
    lines = text(tables.table(documents))
    assert ["odp-1", "odp-2"] in lines
    assert ["Subtask", "task", "1", "task", "2"] in lines
    assert ["Check", "○", "READY", "○", "READY"] in lines


def test_one_alone_shows_the_ids_that_commands_want(documents: list[Document]) -> None:
    assert ["71", "Check", "○", "READY"] in text(tables.table(documents[:1]))


def test_a_list_says_of_which_host_each_is(documents: list[Document]) -> None:
    found = [line for line in text(tables.overview(documents)) if "odp-2" in line]
    assert found[0][:5] == ["2", "Install", "obproxy", "odp-2", "▶"]


def test_nothing_is_an_empty_table() -> None:
    assert ["Subtask"] in text(tables.table([]))
