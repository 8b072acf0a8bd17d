"""What a run that was ended in the middle has left on its host: the host is asked, by the machinery of every run."""

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from service import results, run
from service.run import Run, RunRequest
from service.settings import PROJECT

PLAYBOOK = PROJECT / "playbooks" / "remains.yml"
LIMIT = 2.0  # seconds that the host has for its answer

NOTHING = "Nothing that this run started is left on the host."
SOMETHING = "Still running on the host, started by this run and not ended with it:"
UNKNOWN = "The host could not be asked what this run has left on it"


async def ask(request: RunRequest) -> str:
    """What is left of the run of `request` on its host, in words for its log."""
    variables = {**request.cluster.variables, "run_ident": request.ident}
    question = replace(
        request,
        ident=str(uuid.uuid4()),
        playbook=PLAYBOOK,
        roles=(),
        cluster=replace(request.cluster, variables=variables),
        secrets={},
    )
    try:
        started = await asyncio.to_thread(run.start, question)
    except OSError as error:
        return f"{UNKNOWN}: {error}."
    try:
        async with asyncio.timeout(LIMIT):
            return await _answer(started, question)
    except TimeoutError:
        return f"{UNKNOWN}: no answer within {LIMIT:.0f} s."
    finally:
        await started.end()


async def _answer(started: Run, question: RunRequest) -> str:
    """The answer as soon as it is there; the run that brought it may then be ended."""
    failed = ""
    async with aclosing(started.batches()) as batches:
        async for batch, _ in batches:
            for event in batch:
                if event.get("job_id") != question.token:
                    continue
                if event.get("event") == "runner_on_ok":
                    return _told(results.mapping(results.mapping(event.get("event_data")).get("res")))
                if event.get("event") in ("runner_on_failed", "runner_on_unreachable"):
                    failed = f": {results.failure(event)}"
    return f"{UNKNOWN}{failed or '.'}"


def _told(res: Mapping[str, Any]) -> str:
    lines = results.clean(res.get("stdout")).splitlines()
    return "\n".join([SOMETHING, *(f"  pid {line}" for line in lines)]) if lines else NOTHING
