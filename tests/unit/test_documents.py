"""Checks the Markdown files: links and anchors resolve, and the README stays short."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
DOCUMENTS = [ROOT / name for name in LISTED.split()]
README_LINES = 120


def prose(path: Path) -> str:
    """Return the text of a document without its code."""
    return re.sub(r"^```.*?^```|`[^`]*`", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing(path: Path) -> list[str]:
    """Return the links of a document that do not lead to a file or heading of the repository."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        file = (path.parent / target).resolve() if target else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            found.append(link)
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_resolves(path: Path) -> None:
    assert missing(path) == []


def test_a_link_that_does_not_resolve_is_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("# A topic\n\n[1](b.md) [2](a.md#a-topic) [3](#nowhere) [4](https://example.org) `[5](c.md)`\n")
    assert missing(document) == ["b.md", "#nowhere"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES
