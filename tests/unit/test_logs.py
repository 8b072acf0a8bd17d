"""The log of the service: the context of each line, in both formats."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Literal

import pytest

from service.model.settings import LogFormat
from service.observe import logs
from service.worker.webhooks import DeliveryFailed


@contextmanager
def logging_to(level: Literal["info", "warning"], log_format: LogFormat) -> Iterator[io.StringIO]:
    """Log as a process of its own does; pytest's handlers are removed meanwhile."""
    root, quiet = logging.getLogger(), logging.getLogger("httpx")
    kept = root.handlers, root.level, quiet.level
    root.handlers = []
    with redirect_stderr(io.StringIO()) as written:
        logs.configure(level, log_format)
        yield written
    root.handlers = kept[0]
    root.setLevel(kept[1])
    quiet.setLevel(kept[2])


def test_json_lines_have_their_context() -> None:
    async def run_of(task_id: int) -> None:
        with logs.log_context(trace_id=f"{task_id:016x}", task_id=task_id):
            logs.bind_log_context(role="finish")
            await asyncio.sleep(0)
            logging.getLogger("service.test").warning("Run %s was lost", task_id, extra={"action": "run_lost"})

    async def both() -> None:
        await asyncio.gather(run_of(1), run_of(2))
        logging.getLogger("service.test").info("nothing special: 中")

    with logging_to("info", "json") as written:
        asyncio.run(both())
    first, second, third = map(json.loads, written.getvalue().splitlines())
    for task_id, line in ((1, first), (2, second)):
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "event": f"Run {task_id} was lost",
            "level": "warning",
            "logger": "service.test",
            "action": "run_lost",
            "trace_id": f"{task_id:016x}",
            "task_id": task_id,
            "role": "finish",
        }
    assert third["event"] == "nothing special: 中"
    assert not {"task_id", "role", "trace_id"} & third.keys()


@pytest.mark.parametrize(("log_format", "lines"), [("json", 1), ("text", 5)])
def test_tracebacks(log_format: LogFormat, lines: int) -> None:
    secret = "Planted#1"  # a local variable: tracebacks with variables would show it
    with logging_to("info", log_format) as written, logs.log_context(run="ident"):
        try:
            raise ValueError("of all things")
        except ValueError:
            logging.getLogger("service.test").exception("It failed")
    text = written.getvalue()
    assert len(text.splitlines()) == lines, text
    assert "It failed" in text and "ValueError: of all things" in text and "ident" in text
    assert "raise" in text and secret not in text


def test_level() -> None:
    with logging_to("warning", "text") as written:
        logging.getLogger("service.test").info("too quiet")
        logging.getLogger("httpx").info("too much")
        logging.getLogger("service.test").warning("loud")
    (line,) = written.getvalue().splitlines()
    assert "loud" in line and "warning" in line and "service.test" in line


def test_records_of_the_queue_are_short_and_have_no_expected_traceback() -> None:
    queue = logging.getLogger("procrastinate.worker")
    with logging_to("info", "text") as written:
        queue.info("Starting job send_webhook[1](event=%s)", "x" * 5000)
        for error in (DeliveryFailed("the receiver responded with 503"), ValueError("a defect")):
            try:
                raise error
            except Exception:
                queue.exception("Job ended")

    text = written.getvalue()
    assert "send_webhook[1]" in text and "x" * 300 not in text
    assert "DeliveryFailed" not in text
    assert "ValueError: a defect" in text and text.count("Traceback") == 1
