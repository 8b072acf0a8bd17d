"""Every module of the playbooks is documented as `ansible-doc` reads it."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv" / "bin"


def _run(*command: str) -> str:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"}
    ended = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_every_plugin_is_documented() -> None:
    names = sorted(f"obproxy.takeover.{path.stem}" for path in (ROOT / "plugins" / "action").glob("*.py"))
    told = _run("ansible-doc", "-t", "module", *names)
    assert all(name in told for name in names)
