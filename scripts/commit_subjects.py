"""Checks the length of commit subjects: `python -m scripts.commit_subjects`.

Only commits after the one that added this file are checked, since earlier ones have longer subjects.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 72  # characters


def too_long(repository: Path, introduced: str) -> list[str]:
    """Return the commits whose subject is too long, after the one that added the file `introduced`."""
    added = _git(repository, "log", "--diff-filter=A", "--format=%H", "--", introduced)
    if not added:
        return []  # not committed yet
    log = _git(repository, "log", "--no-merges", "--format=%h %s", f"{added[-1]}..HEAD")
    return [line for line in log if len(line.partition(" ")[2]) > LIMIT]


def _git(repository: Path, *arguments: str) -> list[str]:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def main() -> int:
    """Print the commits with a subject that is too long; return 1 if there are any."""
    found = too_long(ROOT, Path(__file__).relative_to(ROOT).as_posix())
    for line in found:
        print(f"The subject must have at most {LIMIT} characters, got {len(line.partition(' ')[2])}: {line}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
