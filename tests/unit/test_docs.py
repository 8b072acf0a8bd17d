"""Documents with commands: their prerequisites, and the files that their steps leave behind."""

import re
import subprocess

import pytest

from service.model.settings import PROJECT

BLOCK = re.compile(r"^```(?:sh|console|)$\n(.*?)^```$", re.DOTALL | re.MULTILINE)
REDIRECTION = re.compile(r" > ([\w./-]+)\)?$", re.MULTILINE)
OPTION = re.compile(
    r"(?m)(?:-o |--file[ =]|-keyout |-out |--wheel-dir |install -m 0600 \S+ |cp -a \S+ )([\w./-]*\w)(?=[\s)]|$)",
    re.MULTILINE,
)
MOUNT = re.compile(r"-v \./([\w-]+):")
OUTSIDE = ("/etc", "/dev", "/opt")
FORMATS = ("json", "wide")  # of `-o`
TRACKED = ("inventory",)


@pytest.mark.parametrize("name", ["callers", "on-call", "administrators", "operators", "operations", "monitoring"])
def test_a_document_with_commands_begins_with_its_prerequisites(name: str) -> None:
    beginning = (PROJECT / "docs" / f"{name}.md").read_text(encoding="utf-8").split("\n## ")[0]

    assert re.search(r"^Prerequisites: ", beginning, re.MULTILINE)


def files_written() -> set[str]:
    """Return the paths that commands of the documents write or mount, relative to the checkout."""
    documents = [*(PROJECT / "docs").glob("*.md"), PROJECT / "README.md"]
    blocks = [block for path in documents for block in BLOCK.findall(path.read_text(encoding="utf-8"))]
    found = {name for block in blocks for kind in (REDIRECTION, OPTION, MOUNT) for name in kind.findall(block)}
    return {name for name in found if not name.startswith(OUTSIDE) and name not in (*FORMATS, *TRACKED)}


def test_git_ignores_what_the_steps_leave_behind() -> None:
    written = files_written()
    assert {
        "data/netrc",
        "netrc",
        "key.pem",
        "dist",
        "diagnosis.zip",
        "takeover.dump",
        "takeover-backup",
        "ssh",
    } <= written

    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *(f"{name}/x" if "." not in name else name for name in written)],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip

    assert {name.removesuffix("/x") for name in ignored} == written
