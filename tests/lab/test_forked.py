"""A takeover of a real host reports the same whether its run was forked or has started ansible-playbook."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.inventory import reader
from service.model import workflow
from service.model.settings import PROJECT, RunStart
from service.outcome.run_progress import RunEnd
from service.runs import run
from service.runs.spec import RunInputs, RunSpec
from tests.integration.encrypted_secrets import encrypted

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .inventory import CLUSTERS
from .states import ADOPTED_PASSWORD

DEADLINE = 120.0  # seconds a takeover may take at the most
ANSIBLE_TASKS = 13  # of an adoption: the discovery, and one per subtask, because each costs 20 ms
EXECUTED = ("runner_on_ok", "runner_on_skipped")  # a skipped Ansible task costs as much as another


async def test_a_forked_takeover_reports_the_same_as_a_started_one(lab: Lab, lab_host: StartHost) -> None:
    hosts = {start: lab_host(state="other-password") for start in ("forked", "plain")}

    forked, end = await taken_over(lab.inventory, hosts["forked"], "forked")
    plain, other_end = await taken_over(lab.inventory, hosts["plain"], "plain")

    assert (end.rc, end.status, end.tree_gone) == (other_end.rc, other_end.status, other_end.tree_gone)
    assert (end.rc, end.status, end.tree_gone) == (0, "successful", True)
    ended = [event["event_data"] for event in plain if event["event"] in EXECUTED]
    executed = [data["task"] for data in ended if not data["task_action"].endswith("meta")]  # no worker
    assert len(executed) == ANSIBLE_TASKS, executed
    assert comparable(forked, hosts["forked"]) == comparable(plain, hosts["plain"])


async def taken_over(inventory: Path, host: LabHost, start: RunStart) -> tuple[list[Mapping[str, Any]], RunEnd]:
    """Run the takeover's playbook; return its events and its end."""
    known = await reader.read(inventory)
    steps = workflow.load(PROJECT)[workflow.TAKEOVER]
    started = run.start(
        RunSpec(
            ident=f"{start}-run",
            playbook=steps.playbook,
            roles=steps.roles,
            inputs=RunInputs(
                host=known.hosts[host.host_id],
                cluster=known.clusters[CLUSTERS[0].id],
                sql_port=host.sql_port,
                encrypted_secrets=encrypted(obproxy_current_sys_password=ADOPTED_PASSWORD),
            ),
            start=start,
            lease=DEADLINE,  # no worker renews it
        ),
        known.snapshot,
    )
    seen: list[Mapping[str, Any]] = []
    async with asyncio.timeout(DEADLINE):
        async for batch, end in started.batches():
            seen += batch
            if end is not None:
                return seen, end
    raise AssertionError


def comparable(events: list[Mapping[str, Any]], host: LabHost) -> list[tuple[Any, ...]]:
    """Of every event its kind, its Ansible task, and the shape of its result: what of it is the same on two hosts."""
    return [
        (
            event["event"],
            data.get("role"),
            data.get("task"),
            data.get("task_action"),
            data.get("host", host.name) == host.name,
            {name: value if isinstance(value, bool) else type(value).__name__ for name, value in result.items()},
        )
        for event in events
        for data in [event.get("event_data") or {}]
        for result in [data.get("res") or {}]
    ]
