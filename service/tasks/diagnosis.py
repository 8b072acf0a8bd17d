"""Builds the diagnosis archive of a task instance (docs/reference/ocp-api.md 2.5)."""

import io
import json
import zipfile
from collections.abc import Sequence

from service.model.tasks import Subtask
from service.store.database import Database, fetch
from service.tasks import documents, instances


async def build_archive(database: Database, task_id: int) -> bytes:
    """Return a zip file: task_info.txt, changes.json, and one log per execution of a subtask. Raise UnknownTask."""
    _, subtasks = await instances.get(database, task_id)
    async with database.transaction() as connection:
        rows = await fetch(connection, "log_rows_of_task", task_id=task_id)
    logs: dict[str, list[str]] = {}
    for row in rows:
        logs.setdefault(f"subtask_{row['subtask_id']}_{row['run_time']}.log", []).append(row["content"])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("task_info.txt", _overview(subtasks))
        file.writestr("changes.json", _changes(subtasks))
        for name, lines in logs.items():
            file.writestr(name, "\n".join(lines) + "\n")
    return archive.getvalue()


def _changes(subtasks: Sequence[Subtask]) -> str:
    """Return the changes on the host by subtask id, in DAG order."""
    changes = {s.id: documents.changes(s) for s in subtasks if s.changes}
    return json.dumps(changes, indent=2, ensure_ascii=False) + "\n"


def _overview(subtasks: Sequence[Subtask]) -> str:
    """Return one line per subtask in DAG order: id, status, upstreams, name."""
    return "".join(f"{s.id} {s.status} {','.join(map(str, s.upstreams)) or '-'} {s.name}\n" for s in subtasks)
