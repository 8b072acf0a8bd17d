"""Writes the server facts of a run or a discovery; parameters have a table of their own."""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from service.store.database import Connection, execute

SETTINGS, DEFINITIONS = "parameters", "parameter_definitions"
"""Keys of server facts that are large and rarely read; `server_parameters` has them."""


async def record_server_facts(
    connection: Connection, query: str, server_id: int | None, values: Mapping[str, Any]
) -> None:
    """Write redacted server facts, by the query that updates the OBProxy server.

    Parameter definitions come with all parameters of the OBProxy server. Without definitions, the parameters are those
    that a run has changed.
    """
    if about := {key: value for key, value in values.items() if key not in (SETTINGS, DEFINITIONS)}:
        await execute(connection, query, server_id=server_id, values=Jsonb(about))
    if SETTINGS not in values:
        return
    settings = Jsonb(values[SETTINGS])
    if DEFINITIONS in values:
        definitions = Jsonb(values[DEFINITIONS])
        await execute(
            connection, "upsert_server_parameters", server_id=server_id, settings=settings, definitions=definitions
        )
    else:
        await execute(connection, "merge_server_parameters", server_id=server_id, settings=settings)
