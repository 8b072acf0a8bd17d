"""Checks the check of commit subjects, in a repository of its own."""

import subprocess
from pathlib import Path

import pytest

from scripts.commit_subjects import LIMIT, too_long


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository without commits."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def commit(repository: Path, subject: str, file: str = "other") -> None:
    """Commit a new file, or a new line of one."""
    with (repository / file).open("a", encoding="utf-8") as text:
        text.write("line\n")
    identity = ["-c", "user.name=anne", "-c", "user.email=anne@example.org"]
    subprocess.run(["git", "-C", str(repository), "add", "--all"], check=True)
    subprocess.run(
        ["git", "-C", str(repository), *identity, "-c", "commit.gpgsign=false", "commit", "-qm", subject], check=True
    )


def test_only_later_commits_are_checked(repository: Path) -> None:
    commit(repository, "old " + "x" * LIMIT)
    commit(repository, "check " + "x" * LIMIT, "check")
    assert too_long(repository, "check") == []

    commit(repository, "x" * LIMIT + "\n\n" + "a body may have longer lines " * 5)
    assert too_long(repository, "check") == []

    commit(repository, "new " + "x" * LIMIT, "check")
    (found,) = too_long(repository, "check")
    assert found.endswith(" new " + "x" * LIMIT)


def test_before_the_check_is_committed_nothing_is_checked(repository: Path) -> None:
    commit(repository, "old " + "x" * LIMIT)
    assert too_long(repository, "check") == []
