"""The table of workflows of a project that a test makes."""

from pathlib import Path

TABLE = """\
takeover: {task_name: Install obproxy, playbook: takeover.yml, rollback: rollback.yml, server_status: TAKINGOVER}
"""


def write_table(project: Path, more: str = "") -> None:
    """Write meta/workflows.yml: a takeover, and `more` entries."""
    path = project / "meta" / "workflows.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(TABLE + more, encoding="utf-8")
