"""Invariants of a task instance that has ended, after any crash."""

import re
import time
from collections.abc import Collection, Iterable
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from service.runs.directories import PREFIX, TMPFS

from . import processes

_SEPARATOR = re.compile(r"^############\{(\w+)\}\{[^}]*\}############$", re.MULTILINE)
_HEADER = re.compile(r"^(?:TASK|RUNNING HANDLER) \[[^\]]*\]", re.MULTILINE)
_ENDING = re.compile(r"^Set state for subtask: .*$", re.MULTILINE)
_DEADLINE = 60.0  # seconds for what follows a task instance's end: its job, its directory


def check(url: str, task_ids: Collection[int], workers: set[int], bases: Iterable[Path] = (TMPFS,)) -> None:
    """Raise AssertionError that names what was lost, doubled or left.

    `workers` are the pids of all there ever were, `bases` the directories in which their runs have their own.
    """
    deadline = time.monotonic() + _DEADLINE
    while True:
        try:
            with psycopg.connect(url, row_factory=dict_row) as connection:
                _check_accepted(connection, task_ids)
                for task_id in task_ids:
                    _check_state(connection, task_id)
                    _check_log(connection, task_id)
                    _check_processes(connection, task_id)
            check_directories(workers, bases)
            return
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _check_processes(connection: psycopg.Connection[dict[str, object]], task_id: int) -> None:
    idents = connection.execute("SELECT ident FROM run WHERE task_instance_id = %s", (task_id,)).fetchall()
    left = [process for row in idents for process in processes.alive(processes.of_run(str(row["ident"])))]
    assert not left, f"processes of the runs are left on the controller: {left}"


def check_directories(workers: set[int], bases: Iterable[Path] = (TMPFS,)) -> None:
    """Raise AssertionError when private directories of runs of these workers are left."""
    found = [path.name for base in bases for path in base.glob(f"{PREFIX}*")]
    left = [name for name in found if int(name.removeprefix(PREFIX).split("-")[0]) in workers]
    assert not left, f"private directories are left: {left}"


def _check_state(connection: psycopg.Connection[dict[str, object]], task_id: int) -> None:
    def count(query: str) -> object:
        row = connection.execute(query.encode(), {"id": task_id}).fetchone()
        assert row is not None
        return row["count"]

    running = "SELECT count(*) FROM subtask_instance WHERE task_instance_id = %(id)s AND status IN {}"
    assert not count(running.format("('RUNNING', 'CANCELING', 'READY')")), "a subtask runs without a run"
    assert not count("SELECT count(*) FROM run WHERE task_instance_id = %(id)s AND finish_time IS NULL"), (
        "a run counts as alive"
    )
    doing = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('doing', 'todo') AND args ->> 'task_instance_id'"
    assert not count(f"{doing} = %(id)s::text"), "a job of an ended task instance holds its host's lock"


def _check_accepted(connection: psycopg.Connection[dict[str, object]], task_ids: Collection[int]) -> None:
    known = connection.execute("SELECT id FROM task_instance WHERE id = ANY(%s)", (list(task_ids),)).fetchall()
    lost = set(task_ids) - {row["id"] for row in known}
    assert not lost, f"task instances that were accepted are lost: {lost}"


def _check_log(connection: psycopg.Connection[dict[str, object]], task_id: int) -> None:
    rows = connection.execute(
        "SELECT l.subtask_id, s.role, s.status::text, string_agg(l.content, E'\\n' ORDER BY l.id) AS log "
        "FROM subtask_log l JOIN subtask_instance s ON s.id = l.subtask_id WHERE s.task_instance_id = %s "
        "GROUP BY 1, 2, 3 ORDER BY 1",
        (task_id,),
    ).fetchall()
    for row in rows:
        check_text(str(row["role"]), str(row["status"]), str(row["log"]))


def check_text(role: str, status: str, log: str) -> None:
    """One attempt after the other, each with its Ansible tasks once, each but an unfinished one with one ending."""
    assert "events of this run were lost" not in log, f"{role}: {log}"
    before, *parts = _SEPARATOR.split(log)
    attempts = list(zip(parts[::2], parts[1::2], strict=True))
    # A run that was lost before it reached the role has only its end in the log.
    assert not _HEADER.search(before), f"{role}: text outside of every attempt: {log}"
    for operation, text in attempts:
        headers = _HEADER.findall(text)
        assert len(headers) == len(set(headers)), f"{role}: doubled in {operation}: {headers}"
    if status == "SUCCESSFUL":
        operation, text = attempts[-1]
        assert len(_ENDING.findall(text)) == 1, f"{role}: {text}"
        assert operation == "SKIP" or _HEADER.search(text), f"{role}: the last attempt says nothing: {log}"
