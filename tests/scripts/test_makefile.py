"""The order in which `make` runs targets."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGETS = """
slow: ; @sleep 0.5; echo slow
quick: ; @echo quick
"""


def test_targets_of_one_command_run_in_their_order(tmp_path: Path) -> None:
    """`make clean demo` removes first."""
    (tmp_path / "targets.mk").write_text(TARGETS)
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`

    command = ["make", "-f", "Makefile", "-f", str(tmp_path / "targets.mk"), "slow", "quick"]
    done = subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["slow", "quick"]
