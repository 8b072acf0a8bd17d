"""Configures the service's log: one line per record, with context.

`log_context` adds `trace_id` (OCP's, of the request), `task_id`, `run` or `role` to every record logged inside it, of
libraries too. Context values are never secrets.
"""

import logging
import sys

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars
from structlog.typing import EventDict

from service.model.settings import LogFormat

log_context = bound_contextvars
"""A context manager: `with log_context(task_id=7): …`."""

bind_log_context = bind_contextvars
"""The same, until the asyncio task ends."""

QUEUE_RECORD_LIMIT = 200  # characters
QUIET_LIBRARIES = ("httpx",)  # libraries that log every request at INFO


def _shorten_queue_records(_: object, __: str, record: EventDict) -> EventDict:
    """Cut Procrastinate's records, which repeat the arguments of a job, and leave out expected tracebacks."""
    if str(record.get("logger", "")).startswith("procrastinate."):
        text = str(record["event"])
        record["event"] = text if len(text) <= QUEUE_RECORD_LIMIT else f"{text[:QUEUE_RECORD_LIMIT]} …"
        error = (record.get("exc_info") or (None, None))[1]
        if getattr(error, "is_expected", False):
            del record["exc_info"]
    return record


def configure(level: str, log_format: LogFormat) -> None:
    """Write the log to standard error: `text` for people, or `json` with one object per line."""
    last = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.ExtraAdder(["action"]),
                structlog.stdlib.add_logger_name,
                _shorten_queue_records,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
