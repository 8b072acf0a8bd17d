"""Every promise of SECURITY.md names an existing test."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_, _, PROMISES = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("## Authentication and access")
ROWS = [line for line in PROMISES.splitlines() if line.startswith("| ") and not line.startswith("| promise")]


def named(row: str) -> list[str]:
    """Return the tests in the last column: files, with or without their directory, and functions in them."""
    return re.findall(r"`((?:[\w/]+/)?test_\w+\.py(?:::\w+)?)`", row.rstrip("|").rpartition("|")[2])


@pytest.mark.parametrize("row", ROWS)
def test_each_promise_names_existing_tests(row: str) -> None:
    held_by = row.rstrip("| ").rpartition("|")[2]
    tests = named(row)
    whole = re.findall(r"`(tests/\w+)/`", held_by)
    assert all(list((ROOT / directory).glob("test_*.py")) for directory in whole)
    assert tests or whole or "ansible.cfg" in held_by, row
    for test in tests:
        file, _, function = test.partition("::")
        places = list(ROOT.glob(file if "/" in file else f"tests/*/{file}"))
        assert len(places) == 1, f"{file}: {places}"
        assert f"def {function}" in places[0].read_text(encoding="utf-8")


def test_the_document_has_promises() -> None:
    assert len(ROWS) > 20
