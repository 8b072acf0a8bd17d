"""Deletes old records. Running task instances and those that can still be retried are kept."""

from contextlib import suppress

from service.model.errors import InventoryUnreadable
from service.store.database import execute
from service.store.database_errors import retry_contention
from service.tasks.resources import Resources


@retry_contention
async def apply(resources: Resources) -> None:
    """Delete logs, task instances and audit records older than the settings allow.

    Also delete expired idempotency keys, useless passwords, and the discoveries of hosts that have left the inventory.
    """
    settings = resources.settings
    async with resources.database.transaction() as connection:
        if settings.retention_days_logs:
            await execute(connection, "delete_old_logs", days=settings.retention_days_logs)
        if settings.retention_days_tasks:
            await execute(connection, "delete_old_tasks", days=settings.retention_days_tasks)
            await execute(connection, "delete_empty_requests")
        if settings.retention_days_audit:
            await execute(connection, "delete_old_audit_events", days=settings.retention_days_audit)
        await execute(connection, "delete_old_idempotency_keys")
        await execute(connection, "delete_useless_secrets")
    await _delete_discoveries_of_removed_hosts(resources)
    if settings.retention_days_tasks:
        hours = settings.retention_days_tasks * 24
        await resources.queue.app.job_manager.delete_old_jobs(
            nb_hours=hours, include_failed=True, include_cancelled=True, include_aborted=True
        )


@retry_contention
async def _delete_discoveries_of_removed_hosts(resources: Resources) -> None:
    """Delete them unless the inventory cannot be read, which removes no host."""
    with suppress(InventoryUnreadable):
        hosts = (await resources.inventory.current()).hosts
        async with resources.database.transaction() as connection:
            await execute(connection, "delete_discoveries_of_removed_hosts", host_ids=list(hosts))
