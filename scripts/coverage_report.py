"""Reports the branch coverage that `make coverage` has measured, and fails when the pure rooms have too little."""

import sys
import tomllib
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parents[1]
LEAST = 95.0  # percent of the statements and branches of the pure rooms
CONTRACT = "Pure rooms use no database, clock, network or Ansible"


def pure_rooms() -> list[str]:
    """Return the files of the pure rooms as patterns, from the contract of import-linter."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (contract,) = (each for each in tools["importlinter"]["contracts"] if each["name"] == CONTRACT)
    paths = [module.replace(".", "/") for module in contract["source_modules"]]
    return [f"{path}/*.py" if (ROOT / path).is_dir() else f"{path}.py" for path in paths]


def main() -> int:
    """Print both reports, and return the exit status."""
    measured = Coverage()
    measured.load()
    measured.report()
    print(f"\nPure rooms, at least {LEAST:.0f} %:")
    percent = measured.report(include=pure_rooms())
    return int(percent < LEAST)


if __name__ == "__main__":
    sys.exit(main())
