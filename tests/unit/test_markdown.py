"""Checks the Markdown files: links, anchors and cited names resolve, the rooms are listed, the README is short."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
DOCUMENTS = [ROOT / name for name in LISTED.split()]
README_LINES = 120
NAME_IN_FILE = re.compile(r"`(\w+)`\s+in\s+\[[^\]]+\]\(([^)]+\.py)\)")


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


def undefined(text: str) -> list[str]:
    """Return the citations "`name` in [file](file)" whose file does not define the name."""
    return [
        f"{name} in {file}"
        for name, file in NAME_IN_FILE.findall(text)
        if not re.search(
            rf"^ *(?:(?:async )?def|class) {name}\b|^{name}\b.* = ", (ROOT / file).read_text(), re.MULTILINE
        )
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_resolves(path: Path) -> None:
    assert missing(path) == []


def test_a_link_that_does_not_resolve_is_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("# A topic\n\n[1](b.md) [2](a.md#a-topic) [3](#nowhere) [4](https://example.org) `[5](c.md)`\n")
    assert missing(document) == ["b.md", "#nowhere"]


def test_the_functions_on_the_way_from_a_route_to_a_role_exist() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(NAME_IN_FILE.findall(contributing)) >= 10
    assert undefined(contributing) == []


def test_a_function_that_does_not_exist_is_found() -> None:
    text = "`main` in [a](scripts/prose.py), `nothing`\nin [a](scripts/prose.py), `ROOT` in [a](scripts/prose.py)"
    assert undefined(text) == ["nothing in scripts/prose.py"]


def test_the_layout_lists_every_room() -> None:
    table = re.findall(r"^\| ((?:`[\w./]+`(?:, )?)+) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    listed = {name for row in table for name in re.findall(r"`([\w.]+/?)`", row)}
    rooms = {f"{path.parent.name}/" for path in (ROOT / "service").glob("*/__init__.py")}
    assert rooms <= listed, f"not in the table of rooms: {sorted(rooms - listed)}"


def unknown_tasks(text: str) -> list[str]:
    """Return the Ansible tasks of printed output that no role or playbook has."""
    paths = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("playbooks/**/*.yml")]
    names = set()
    for path in paths:
        role = f"{path.parents[1].name} : " if path.is_relative_to(ROOT / "roles") else ""
        found = re.findall(r"^ *- name: (.+?)(?: #.*)?$", path.read_text(encoding="utf-8"), re.MULTILINE)
        names |= {role + name.strip("\"'") for name in found}
    return [name for name in re.findall(r"^TASK \[(.+)\]", text, re.MULTILINE) if name not in names]


def test_the_ansible_tasks_in_printed_output_exist() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    assert text.count("TASK [") >= 5
    assert unknown_tasks(text) == []


def test_an_ansible_task_that_does_not_exist_is_found() -> None:
    assert unknown_tasks("TASK [Report] ***\nTASK [finish : Dance] ***\n") == ["finish : Dance"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


def test_git_ignores_files_of_the_steps_for_callers() -> None:
    text = (ROOT / "docs" / "callers.md").read_text(encoding="utf-8")
    steps = "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    written = set(re.findall(r" > ([\w-]+)$", steps, re.MULTILINE))

    assert written == {"netrc", "access-key", "to-sign", "secret"}
    assert {f"/{name}" for name in written} <= set((ROOT / ".gitignore").read_text(encoding="utf-8").split("\n"))
