"""Reads and writes the record of the state before a takeover on the host, for the actions that add to it."""

import json
from typing import Any

from .action import HostAction, Result
from .rollback_record import Record, is_complete, with_desired


class RecordingAction(HostAction):
    """Action that can store the record."""

    def record_file(self, content: Record, *, replace: bool) -> dict[str, Any]:
        """Return the file of a record, for `converge`."""
        text = json.dumps(content, indent=2, sort_keys=True) + "\n"
        path = self.state_file("before")
        return {"path": path, "text": text, "mode": "0600", "directory_mode": "0700", "replace": replace}

    def whole_record(self, known: Record) -> Record:
        """Return the record with its parameters, which a usual discovery leaves out."""
        if is_complete(known):
            return known
        recorded: Record = self.rediscover(record=True)["ansible_facts"]["obproxy"]["recorded"] or {}
        return recorded

    def store_desired(self, whole: Record, desired: dict[str, Any]) -> tuple[Record, Result]:
        """Add the parameters that this run sets to the record, so that a rollback restores them."""
        whole = with_desired(whole, desired)
        return whole, self.converge("The record can be stored on the host", [self.record_file(whole, replace=True)])
