"""Fetches jobs and starts runs as a worker does."""

from procrastinate.jobs import Job

from service.store.queue import QUEUE
from service.tasks import instances
from service.tasks.resources import Resources
from service.worker import job as jobs


async def claimed(resources: Resources, queue: str = QUEUE) -> Job:
    """Return the next job of a queue, which belongs to a new worker from now on."""
    manager = resources.queue.app.job_manager
    job = await manager.fetch_job(queues=[queue], worker_id=await manager.register_worker())
    assert job, "a job waits"
    return job


async def start_run(resources: Resources, task_id: int) -> None:
    """Insert the run of a task instance, whose job is the next one."""
    task, subtasks = await instances.get(resources.database, task_id)
    spec, _ = await jobs._run_spec(resources, task, subtasks)
    await jobs._insert_run(resources, task, subtasks, spec, await claimed(resources), {})
