"""Fetches jobs as a worker does."""

from procrastinate.jobs import Job

from service.store.queue import QUEUE
from service.tasks.resources import Resources


async def claimed(resources: Resources, queue: str = QUEUE) -> Job:
    """Return the next job of a queue, which belongs to a new worker from now on."""
    manager = resources.queue.app.job_manager
    job = await manager.fetch_job(queues=[queue], worker_id=await manager.register_worker())
    assert job, "a job waits"
    return job
