"""Reports the branch coverage that `make coverage` has measured, and fails when it is too little.

The tests of all folders are held to a least coverage of everything, the unit tests to one of the pure rooms.
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parents[1]
LEAST_OF_ALL = 92.0  # percent of the statements and branches, by all tests
LEAST_OF_PURE_ROOMS = 95.0  # percent, by the unit tests
UNIT_TESTS = "tests/unit"
CONTRACT = "Pure rooms use no database, clock, network or Ansible"


def pure_rooms() -> list[str]:
    """Return the files of the pure rooms as patterns, from the contract of import-linter."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (contract,) = (each for each in tools["importlinter"]["contracts"] if each["name"] == CONTRACT)
    paths = [module.replace(".", "/") for module in contract["source_modules"]]
    return [f"{path}/*.py" if (ROOT / path).is_dir() else f"{path}.py" for path in paths]


def main(files: Sequence[str]) -> int:
    """Print both reports, and return the exit status; `files` are the measured tests, empty for all."""
    measured = Coverage()
    measured.load()
    of_all = measured.report()
    print("\nPure rooms:")
    of_pure_rooms = measured.report(include=pure_rooms())
    is_enough = _holds("all modules", of_all, LEAST_OF_ALL) if not files else True
    if not files or UNIT_TESTS in files:
        is_enough &= _holds("the pure rooms", of_pure_rooms, LEAST_OF_PURE_ROOMS)
    return int(not is_enough)


def _holds(what: str, percent: float, least: float) -> bool:
    print(f"{percent:.1f} % of {what}; at least {least:.0f} %")
    return percent >= least


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
