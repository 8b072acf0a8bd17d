"""The operation that helps first after a failure: a retry, or a takeover with another password, port or permission."""

from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import urlencode

from service.model.tasks import SQL_PORT, TaskInstance
from service.model.workflow import PRECHECK, TAKEOVER
from service.outcome.failed_rules import RuleFailure
from service.store.database import Database, fetch


class Remedy(StrEnum):
    """The input that a takeover needs after a failed rule."""

    PASSWORD = "PASSWORD"  # noqa: S105
    PORT = "PORT"
    RESTART = "RESTART"


REMEDIES = {
    "root@proxysys can log in with the given, the cluster's or the empty password": Remedy.PASSWORD,
    "An OBProxy listens on the SQL port": Remedy.PORT,
    "No parameter that acts only after a restart differs, unless a restart is permitted": Remedy.RESTART,
}
"""Remedies by rule. After other rules, the cause is removed outside of the service, and a retry follows."""


def remedy_of(failures: Iterable[RuleFailure | None]) -> Remedy | None:
    """Return the remedy of the first failed rule that has one; None: a retry."""
    rules = (failed.rule.removesuffix(".") for failure in failures if failure for failed in failure.rules)
    return next((REMEDIES[rule] for rule in rules if rule in REMEDIES), None)


async def takeover_address(database: Database, task: TaskInstance, remedy: Remedy) -> str | None:
    """Return the address of the takeover form, filled in for the host of a failed takeover; None for others."""
    if task.workflow not in (TAKEOVER, PRECHECK):
        return None
    strings = task.context["stringMap"]
    port = strings.get(SQL_PORT)
    if task.obproxy_server_id is not None:
        async with database.autocommit() as connection:
            for server in await fetch(connection, "server_by_id", server_id=task.obproxy_server_id):
                port = str(server["sql_port"])  # no row: the server was deleted after the task instance was read
    fields = {"keyword": task.host_name, f"host-{task.host_id}": "on"}
    if port is not None:
        fields[f"port-{task.host_id}"] = port
    if remedy is Remedy.RESTART:
        fields["allow-restart"] = "on"
    return f"/clusters/{strings['obproxy_cluster_id']}/takeover?{urlencode(fields)}"
