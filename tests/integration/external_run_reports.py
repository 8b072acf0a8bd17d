"""Reports of runs by hand, for the tests of external runs."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from service.model.settings import PROJECT
from service.model.workflow import TAKEOVER, load

ROLES = load(PROJECT)[TAKEOVER].roles
START = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
CHANGE = {"what": "parameter", "name": "a_level", "before": "Proxysys#1", "after": "b", "needs_restart": True}
SERVER = {"pid": 7, "version": "4.3.1.0-1", "architecture": "x86_64", "exporter_port": 2884}

Body = dict[str, Any]


def run_report(
    roles: Sequence[str] = ROLES,
    *,
    failing: str | None = None,
    playbook: str = "takeover",
    server: Body = SERVER,
    **changed: Any,
) -> Body:
    """Return the report of a run, one second per role, failing at `failing`; `changed` are other fields."""
    host = "odp-by-hand"
    events: list[Body] = []

    def add_event(event: str, stdout: str = "", **data: Any) -> None:
        moment = START + timedelta(seconds=len([e for e in events if e["event"] == "playbook_on_task_start"]))
        events.append(
            {
                "event": event,
                "counter": len(events) + 1,
                "created": moment.isoformat(),
                "stdout": stdout,
                "eventData": data,
            }
        )

    add_event("playbook_on_play_start", "PLAY [Take over OBProxy]")
    add_event("playbook_on_task_start", name="Discover the OBProxy server")
    add_event("runner_on_ok", f"ok: [{host}]", host=host, task="Discover the OBProxy server", res={"changed": False})
    for role in list(reversed(roles)) if playbook == "rollback" else roles:
        task = {"role": role, "task": f"Do {role}"}
        add_event("playbook_on_task_start", f"TASK [{role} : Do {role}]", name=f"Do {role}", **task)
        if role == failing:
            res = {"msg": "nc is missing; the password is Proxysys#1"}
            add_event("runner_on_failed", f"fatal: [{host}]: FAILED!", host=host, res=res, ignore_errors=False, **task)
            break
        add_event(
            "runner_on_ok",
            f"ok: [{host}]",
            host=host,
            res={"changed": True, "obproxy_server": server, "changes": [CHANGE]},
            **task,
        )
    counts: Body = {"processed": {host: 1}, "failures": {host: 1} if failing else {}, "dark": {}}
    add_event("playbook_on_stats", **counts)
    body = {
        "uuid": str(uuid.uuid4()),
        "clusterId": 1,
        "hostId": 1,
        "hostName": host,
        "sqlPort": 2883,
        "playbook": playbook,
        "roles": list(roles),
        "rc": 2 if failing else 0,
        "startTime": START.isoformat(),
        "finishTime": (START + timedelta(seconds=60)).isoformat(),
        "events": events,
    }
    return {name: value for name, value in (body | changed).items() if value is not None}
