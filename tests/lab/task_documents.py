"""Reads task documents of the service."""

import time

from service.cli.client import Client
from service.cli.tables import in_dag_order
from service.cli.transport import Document

END_DEADLINE = 120.0  # seconds until a task instance must have ended


def ended(client: Client, task_id: int) -> Document:
    """Return the final document of a task instance."""
    deadline = time.monotonic() + END_DEADLINE
    for (document,) in client.watch([task_id]):
        assert time.monotonic() < deadline, document
    return document


def statuses(document: Document) -> list[str]:
    """Return the statuses of the subtasks, in DAG order."""
    return [subtask["status"] for subtask in in_dag_order(document["subtasks"])]
