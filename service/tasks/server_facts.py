"""Writes the server facts of a run or a discovery; parameters have a table of their own."""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from service.outcome import ansible_results, unmanaged_changes
from service.store.database import Connection, execute, fetch

SETTINGS, DEFINITIONS = "parameters", "parameter_definitions"
"""Keys of server facts that are large and rarely read; `server_parameters` has them."""
REDISCOVERED, SYNCHRONISED, LOGIN_ERROR = "is_rediscovered", "is_synchronised", "login_error"
"""Keys of server facts that are about the result itself."""
ERROR_LIMIT = 2_000  # characters
UNREADABLE = "its parameters could not be read: "


async def record_server_facts(
    connection: Connection, query: str, server_id: int | None, values: Mapping[str, Any]
) -> None:
    """Write redacted server facts, by the query that updates the OBProxy server.

    Parameter definitions come with all parameters of the OBProxy server. Without definitions, the parameters are those
    that a run has changed.
    """
    about = {
        key: value
        for key, value in values.items()
        if key not in (SETTINGS, DEFINITIONS, REDISCOVERED, SYNCHRONISED, LOGIN_ERROR)
    }
    if server_id is not None:
        about |= await _about_discovery(connection, server_id, values)
    if about:
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


async def record_discovery_error(connection: Connection, server_id: int, error: str) -> None:
    """Record why an OBProxy server could not be discovered. Its former facts stay, with their age."""
    values = Jsonb({"discovery_error": ansible_results.clean(error, ERROR_LIMIT)})
    await execute(connection, "update_managed_server_facts", server_id=server_id, values=values)


async def _about_discovery(connection: Connection, server_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return when the facts were discovered, and which changes were not made through the service."""
    if values.get(SYNCHRONISED):
        return {"unmanaged_changes": []}
    if LOGIN_ERROR not in values and DEFINITIONS not in values:
        return {}
    rows = await fetch(connection, "server_with_parameters", server_id=server_id)
    if not rows:
        return {}
    stored = rows[0]
    error = values.get(LOGIN_ERROR)
    about = {"discovery_error": UNREADABLE + error} if error else {"discovery_error": None, "discovered": stored["now"]}
    if values.get(REDISCOVERED):
        return about
    found = unmanaged_changes.compared(stored["learned"], stored["settings"] or {}, values, stored["now"])
    known = stored["learned"].get("unmanaged_changes", [])
    return about | {"unmanaged_changes": unmanaged_changes.added(known, found)}
