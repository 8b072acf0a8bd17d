"""Where Prometheus finds the OBProxy servers that have been taken over: its HTTP service discovery."""

from service.database import Database, fetch_as
from service.types import JSON, ObproxyServer


async def targets(database: Database) -> list[JSON]:
    """One element an OBProxy server whose exporter is known, by id; one that is being taken over has none yet."""
    async with database.single() as connection:
        servers = await fetch_as(connection, ObproxyServer, "servers_with_exporter")
    return [_target(server) for server in servers]


def _target(server: ObproxyServer) -> JSON:
    """What may change while the OBProxy stays the same is a meta label: those are dropped unless relabelled."""
    host = f"[{server.ip}]" if ":" in server.ip else server.ip
    return {
        "targets": [f"{host}:{server.exporter_port}"],
        "labels": {
            "obproxy_cluster": server.cluster_name,
            "obproxy_cluster_id": str(server.cluster_id),
            "obproxy_host": server.host_name,
            "obproxy_host_id": str(server.host_id),
            "obproxy_sql_port": str(server.sql_port),
            "__meta_obproxy_server_id": str(server.id),
            "__meta_obproxy_status": server.status,
            "__meta_obproxy_version": server.version or "",
        },
    }
