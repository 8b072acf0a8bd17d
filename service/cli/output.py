"""Output of the commands: aligned columns without boxes, or the API's document as JSON."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.transport import Document

WIDTH = 1_000_000  # columns of a table that is printed: values are never wrapped or cut
EMPTY = "-"


class Format(StrEnum):
    """The format of a command's output."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"


Output = Annotated[
    Format, typer.Option("--output", "-o", help="table, wide (more columns) or json (the document of the API).")
]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table; with `wide`, of the format `wide` alone."""

    header: str
    value: Callable[[Document], object]
    wide: bool = False


def table(columns: Sequence[Column], rows: Iterable[Document], output: Format = Format.TABLE) -> Table:
    """Return the rows as a table without boxes. Headers and columns are the same in a terminal and in a pipe.

    A live display in a narrow terminal cuts the last columns only.
    """
    shown = [column for column in columns if output is Format.WIDE or not column.wide]
    cells = [[_cell(column.value(row)) for column in shown] for row in rows]
    result = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for number, column in enumerate(shown):
        needed = max([len(column.header), *(row[number].cell_len for row in cells)])
        result.add_column(column.header, no_wrap=True, min_width=None if column is shown[-1] else needed)
    for row in cells:
        result.add_row(*row)
    return result


def fields(values: Mapping[str, object]) -> Table:
    """Return the properties of one thing, one per line; those that are None are left out."""
    result = Table.grid(padding=(0, 3, 0, 0))
    for name, value in values.items():
        if value is not None:
            result.add_row(Text(f"{name}:"), _cell(value))
    return result


def print_table(rendered: RenderableType) -> None:
    """Print a table in full: no line is wrapped or cut."""
    console = Console(width=WIDTH, highlight=False)
    with console.capture() as captured:
        console.print(rendered)
    for line in captured.get().splitlines():
        print(line.rstrip())


def print_json(document: object) -> None:
    """Print a document of the API."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_list(
    found: Document,
    columns: Sequence[Column],
    output: Format,
    rows: Callable[[list[Document]], Iterable[Document]] = iter,
) -> None:
    """Print the list of an API response. Standard error has the number of all elements when not all are shown.

    `rows` returns the rows of a table for the elements.
    """
    if output is Format.JSON:
        print_json(found)
        return
    print_table(table(columns, rows(found["contents"]), output))
    page = found.get("page")
    if page and len(found["contents"]) < page["totalElements"]:
        print(paging(len(found["contents"]), page), file=sys.stderr)


def paging(shown: int, page: Document) -> str:
    """Return the sentence that a part of a list ends with."""
    counted = f"{shown} of {page['totalElements']}"
    if page["number"] < page["totalPages"]:
        return f"{counted}. The next: --page {page['number'] + 1}. All: --all."
    return f"{counted}: page {page['number']} of {page['totalPages']}. All: --all."


def _cell(value: object) -> Text:
    """Return a value as one line; an empty or missing one as a dash."""
    if isinstance(value, Text):
        return value
    return Text(EMPTY if value is None else " ".join(str(value).split()) or EMPTY)
