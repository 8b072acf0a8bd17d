"""The rows and bytes of one takeover in the database (docs/operations.md has the numbers)."""

from collections.abc import Callable
from pathlib import Path

import psycopg

from . import Lab
from .chaos.ground import Ground
from .chaos.holds import Holds
from .chaos.matrix import Subject
from .fixtures import StartHost

OF_TASK = {
    "task_instance": "id = %(id)s",
    "subtask_instance": "task_instance_id = %(id)s",
    "subtask_dependency": "upstream_id IN (SELECT id FROM subtask_instance WHERE task_instance_id = %(id)s)",
    "subtask_log": "subtask_id IN (SELECT id FROM subtask_instance WHERE task_instance_id = %(id)s)",
    "run": "task_instance_id = %(id)s",
}
MOST_ROWS, MOST_BYTES = 200, 40_000


def test_a_takeover_leaves_little(
    lab: Lab, tmp_path: Path, lab_host: StartHost, record_property: Callable[[str, object], None]
) -> None:
    holds = Holds(tmp_path, lab.inventory)
    with Ground(tmp_path / "ground", holds.inventory) as ground, ground.client() as client:
        subject = Subject(host=lab_host(), moment="install_rpm", ground=ground, holds=holds, client=client)
        subject.submit()
        subject.let_go()
        subject.check_end(subject.wait_for_end())
        with psycopg.connect(ground.postgres.url) as connection:
            counted = {
                table: connection.execute(
                    f"SELECT count(*), sum(pg_column_size(t.*)) FROM {table} t WHERE {condition}".encode(),  # noqa: S608
                    {"id": subject.task_id},
                ).fetchone()
                for table, condition in OF_TASK.items()
            }
    rows, size = (sum(int(found[column]) for found in counted.values() if found) for column in (0, 1))

    print("rows, bytes:", counted, rows, size)
    record_property("rows", rows)
    record_property("bytes", size)
    assert 30 < rows <= MOST_ROWS
    assert size <= MOST_BYTES
