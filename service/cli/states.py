"""Words and styles of states in a terminal. The words are the API's; docs/operators.md explains them."""

from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from service.cli.transport import Document

STYLES = {
    "PENDING": "dim",
    "READY": "cyan",
    "RUNNING": "bold yellow",
    "CANCELING": "bold magenta",
    "FAILED": "bold red",
    "SUCCESSFUL": "green",
    "ROLLED_BACK": "magenta",
    "SUPERSEDED": "dim",
    "QUEUED": "cyan",
    "WAITING": "cyan",
    "WAITING_FOR_HOST": "cyan",
    "NOT_STARTED": "yellow",
    "STOPPED": "bold yellow",
}


def state(word: str) -> Text:
    """Return a state in its style."""
    return Text(word, style=STYLES.get(word, ""))


def subtask_duration(subtask: Document) -> str:
    """Return the duration of the last execution of a subtask; empty while it waits."""
    if subtask["status"] in ("RUNNING", "CANCELING"):
        return duration(subtask.get("startTime"), None)
    has_ended = subtask["state"] in ("FAILED", "SUCCESSFUL", "ROLLED_BACK") and "finishTime" in subtask
    return duration(subtask.get("startTime"), subtask["finishTime"]) if has_ended else ""


def duration(start: str | None, end: str | None) -> str:
    """Return the time from start to end, or until now; empty without a start."""
    if start is None:
        return ""
    until = datetime.now(UTC) if end is None else parse_time(end)
    return f"{(until - parse_time(start)).total_seconds():.1f} s"


def local_time(timestamp: str | None) -> str | None:
    """Return a time of a document in the time zone of this machine, without a space."""
    return None if timestamp is None else parse_time(timestamp).astimezone().isoformat(timespec="seconds")


def parse_time(timestamp: Any) -> datetime:
    """Return a time of a document."""
    return datetime.fromisoformat(timestamp)
