"""Procrastinate's statements about jobs reach the database when a connection is lost."""

import pytest
from procrastinate.exceptions import ConnectorException

from service.tasks.resources import Resources


async def test_a_statement_is_repeated_after_a_lost_connection(resources: Resources) -> None:
    connector = resources.queue.app.connector
    await connector.execute_query_async("CREATE SEQUENCE tries")

    await connector.execute_query_async(
        "SELECT CASE WHEN nextval('tries') < 3 THEN pg_terminate_backend(pg_backend_pid()) END"
    )

    found = await connector.execute_query_one_async("SELECT last_value FROM tries")
    assert found["last_value"] == 3


async def test_a_rejected_statement_is_not_repeated(resources: Resources) -> None:
    connector = resources.queue.app.connector
    await connector.execute_query_async("CREATE SEQUENCE tries")

    with pytest.raises(ConnectorException):
        await connector.execute_query_async("SELECT 1 / (nextval('tries') - 1)")

    found = await connector.execute_query_one_async("SELECT last_value FROM tries")
    assert found["last_value"] == 1
