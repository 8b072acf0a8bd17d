"""Writing down what a run, or a closer look, found out about an OBProxy server; its parameters apart from the rest."""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from service.store.database import Connection, execute

SETTINGS, DEFINITIONS = "parameters", "parameter_definitions"
"""The keys of `server_facts.VALIDATORS` that are large and that few ask for: they have a table of their own."""


async def record_server_facts(
    connection: Connection, query: str, server_id: int | None, values: Mapping[str, Any]
) -> None:
    """Write `values`, redacted server facts, into the OBProxy server's row by `query`.

    Definitions come with all settings of the OBProxy; settings without them are some that were changed.
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
