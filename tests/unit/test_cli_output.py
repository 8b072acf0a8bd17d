"""Output of the commands: aligned columns, the number of all elements, JSON."""

import json
from typing import Any

import pytest

from service.cli.output import Column, Format, print_list

COLUMNS = (
    Column(header="NAME", value=lambda row: row["name"]),
    Column(header="TEXT", value=lambda row: row.get("text")),
    Column(header="MORE", value=lambda row: "more", wide=True),
)


def listed(*rows: dict[str, Any], number: int = 1, size: int = 20, total: int | None = None) -> dict[str, Any]:
    total = len(rows) if total is None else total
    page = {"number": number, "size": size, "totalElements": total, "totalPages": -(-total // size)}
    return {"contents": list(rows), "page": page}


def test_a_pipe_gets_aligned_columns_in_full(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    long = "x" * 300
    print_list(listed({"name": "a", "text": f"[b] {long}"}, {"name": "a longer name"}), COLUMNS, Format.TABLE)

    assert capsys.readouterr().out == f"NAME            TEXT\na               [b] {long}\na longer name   -\n"


def test_a_cell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_list(listed({"name": "a\nb", "text": ""}), COLUMNS, Format.TABLE)

    assert capsys.readouterr().out.splitlines()[1:] == ["a b    -"]


def test_an_empty_list_has_its_headers(capsys: pytest.CaptureFixture[str]) -> None:
    print_list(listed(), COLUMNS, Format.TABLE)

    output = capsys.readouterr()
    assert (output.out, output.err) == ("NAME   TEXT\n", "")


def test_wide_has_more_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_list(listed({"name": "a"}), COLUMNS, Format.WIDE)

    assert capsys.readouterr().out.splitlines() == ["NAME   TEXT   MORE", "a      -      more"]


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (1, "1 of 90. The next: --page 2. All: --all.\n"),
        (90, "1 of 90: page 90 of 90. All: --all.\n"),
    ],
)
def test_a_part_of_a_list_says_so(capsys: pytest.CaptureFixture[str], number: int, sentence: str) -> None:
    print_list(listed({"name": "a"}, number=number, size=1, total=90), COLUMNS, Format.TABLE)

    assert capsys.readouterr().err == sentence


def test_json_is_the_document_of_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    document = listed({"name": "ä"}, total=90, size=1)
    print_list(document, COLUMNS, Format.JSON)

    output = capsys.readouterr()
    assert json.loads(output.out) == document and "ä" in output.out and output.err == ""
