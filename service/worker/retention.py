"""Removing what is old, and never what runs or what somebody could still go on with."""

from service.store.database import execute
from service.store.database_errors import retry_contention
from service.tasks.resources import Resources


@retry_contention
async def apply(resources: Resources) -> None:
    """Remove logs, task instances and records of calls older than the settings say, and expired idempotency keys."""
    settings = resources.settings
    async with resources.database.transaction() as connection:
        if settings.retention_days_logs:
            await execute(connection, "delete_old_logs", days=settings.retention_days_logs)
        if settings.retention_days_tasks:
            await execute(connection, "delete_old_tasks", days=settings.retention_days_tasks)
        if settings.retention_days_audit:
            await execute(connection, "delete_old_audit_events", days=settings.retention_days_audit)
        await execute(connection, "delete_old_idempotency_keys")
    if settings.retention_days_tasks:
        hours = settings.retention_days_tasks * 24
        await resources.queue.app.job_manager.delete_old_jobs(
            nb_hours=hours, include_failed=True, include_cancelled=True, include_aborted=True
        )
