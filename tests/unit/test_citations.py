"""Checks that citations of docs/reference/ resolve: to a page, section, quoted heading, trap, case or transition."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
REF = r"\"[^\"]+\"|traps? \d+|cases? \d+|[A-Z]\.\d+|[UE]\d+|\d+(?:\.\d+)*"
SEPARATOR = r"(?:, | and | to | |-)"
CITATION = re.compile(rf"docs/reference/([\w-]+)\.md`?((?:{SEPARATOR}(?:{REF})(?: \([\w ,]+\))?)*)")
LINK = re.compile(r"\[([\w-]+\.md)\]\(\1\)")  # how the pages cite each other
COMMENT = r"(?:#|--) "
OLD = re.compile(r"(?<![\w.])facts/[a-z-]+\.(?:md|json)")


@cache
def texts() -> dict[str, str]:
    """Return the text of every tracked file, by its path."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = {}
    for name in filter(None, listed.split("\0")):
        if ROOT / name == Path(__file__):
            continue  # has examples of bad ones
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # not a text; removed, and not committed yet; the link to this directory
    return found


def citations(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each citation of a text: the page, and the places in it."""
    text = re.sub(rf"(?m)^(.*{COMMENT}.*)\n(?!\s*{COMMENT})", r"\1;\n", text)  # code does not go on with a comment
    for page, refs in CITATION.findall(re.sub(rf"\s*\n\s*(?:{COMMENT})?", " ", text)):
        yield page, re.findall(REF, re.sub(r"\([^)]*\)", "", refs))


@cache
def places(page: str) -> frozenset[str]:
    """Return the places of a page that can be cited, and the titles of its headings in quotes."""
    text = (REFERENCE / f"{page}.md").read_text(encoding="utf-8")
    found: set[str] = set()
    for heading in re.findall(r"^#{2,} (.+)$", text, re.MULTILINE):
        number = re.match(r"((?:[A-Z]\.|[A-Z](?=\.))?\d*(?:\.\d+)*)\.? ", heading)
        found |= {number[1]} if number else {f'"{heading}"'}
    for title, kind, row in (("9. Traps", "trap", r"^(\d+)\. "), ("D.2 Hard cases", "case", r"^\| (\d+b?) \|")):
        section = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        found |= {f"{kind} {number}" for number in re.findall(row, section[1], re.MULTILINE)} if section else set()
    return frozenset(found | set(re.findall(r"^\| ([UE]\d+) \|", text, re.MULTILINE)))


def is_place(page: str, ref: str) -> bool:
    """Return whether a page has the place; a quoted heading may be cited by its beginning."""
    ref = re.sub(r"^(trap|case)s ", r"\1 ", ref)
    return ref in places(page) or (ref.startswith('"') and any(place.startswith(ref[:-1]) for place in places(page)))


@pytest.mark.parametrize("name", [name for name, text in texts().items() if "docs/reference/" in f"{name} {text}"])
def test_every_citation_resolves(name: str) -> None:
    text = texts()[name]
    for page, refs in citations(LINK.sub(r"docs/reference/\1", text) if name.startswith("docs/reference/") else text):
        assert (REFERENCE / f"{page}.md").is_file(), f"{name} cites the page {page}"
        assert [ref for ref in refs if not is_place(page, ref)] == [], f"{name} cites {page}"


def test_no_citation_names_a_file_outside_of_the_repository() -> None:
    assert [name for name, text in texts().items() if OLD.search(text)] == []


def test_every_page_is_in_the_index() -> None:
    pages = {path.name for path in REFERENCE.glob("*.md")} - {"README.md"}
    assert pages == set(re.findall(r"^\| \[([\w-]+\.md)\]", (REFERENCE / "README.md").read_text("utf-8"), re.MULTILINE))


def test_citations_that_do_not_resolve_are_found() -> None:
    text = 'See docs/reference/obproxy.md 4.3, trap 99 and\n# docs/reference/obproxy-observed.md "Nothing".'
    assert list(citations(text)) == [("obproxy", ["4.3", "trap 99"]), ("obproxy-observed", ['"Nothing"'])]
    assert is_place("obproxy", "4.3") and is_place("task-engine", "U6") and is_place("event-streams", "case 16b")
    assert is_place("obproxy-observed", '"ALTER PROXYCONFIG"') and is_place("ansible-runner", "E.16")
    assert not is_place("obproxy", "trap 99") and not is_place("obproxy", "4.9")
    assert not is_place("obproxy-observed", '"Nothing"') and not is_place("event-streams", "case 99")
