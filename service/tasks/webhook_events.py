"""CloudEvents 1.0 for webhooks: the end of a task instance or of a request."""

import uuid
from datetime import UTC, datetime

from service.model import wire
from service.model.states import state_of
from service.model.types import JSON
from service.store.database import Connection
from service.store.queue import Queue
from service.tasks import documents, instances

TASK_ENDED = "obproxy-takeover.task.ended"
REQUEST_ENDED = "obproxy-takeover.request.ended"
SOURCE = "obproxy-takeover"


async def announce_task_end(connection: Connection, queue: Queue, task_id: int) -> None:
    """Put the event of an ended task instance on the queue, and a job that announces the end of its request.

    The job checks whether the request has ended, after this transaction: of task instances that end at the same time,
    none sees the end of the others here.
    """
    ((task, subtasks),) = await instances.by_ids(connection, [task_id])
    document = dict(documents.basic(task, subtasks, state_of(task)))
    event = cloud_event(TASK_ENDED, f"tasks/instances/{task.id}", str(uuid.uuid4()), document)
    await queue.defer_webhook(connection, event)
    if task.request_id is not None:
        await queue.defer_request_end(connection, task.request_id)


def cloud_event(event_type: str, subject: str, event_id: str, data: JSON) -> JSON:
    """Return a CloudEvent in JSON; `data` is a document of the API."""
    return {
        "specversion": "1.0",
        "type": event_type,
        "source": SOURCE,
        "subject": subject,
        "id": event_id,
        "time": wire.timestamp(datetime.now(UTC)),
        "datacontenttype": "application/json",
        "data": data,
    }
