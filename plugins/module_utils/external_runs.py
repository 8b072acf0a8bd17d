"""Reports external runs, which were started by ansible-playbook directly, to the takeover service."""

import json
from typing import Any

from .service_client import NOT_THE_SERVICE, ServiceClient, ServiceUnreachable

PATH = "/api/v2/obproxy/externalRuns"
BODY_LIMIT = 900_000  # bytes; the service accepts 1 MiB by default
TEXT_LIMITS = (16_000, 4_000, 1_000, 200)  # characters of one text; tried in order until the body is small enough


class ExternalRunClient(ServiceClient):
    """Records external runs in the service."""

    def record(self, run: dict[str, Any]) -> int:
        """Record a run and return the id of its task instance. Raises RequestRejected and ServiceUnreachable."""
        try:
            return int(self.send(PATH, encode_run(run))["id"])
        except ServiceUnreachable as error:
            reason = f"{error}; the service may have recorded the run" if error.timed_out else str(error)
            raise ServiceUnreachable(reason) from None
        except (ValueError, LookupError, TypeError):
            raise ServiceUnreachable(NOT_THE_SERVICE) from None


def encode_run(run: dict[str, Any]) -> bytes:
    """Return the JSON of a run, with long texts truncated until the body is small enough.

    The service rejects a body that is too large even with the smallest limit.
    """
    *limits, smallest = TEXT_LIMITS
    for limit in limits:
        body = _encoded(run, limit)
        if len(body) <= BODY_LIMIT:
            return body
    return _encoded(run, smallest)


def _encoded(run: dict[str, Any], limit: int) -> bytes:
    return json.dumps(_json_value(run, limit)).encode()


def _json_value(value: Any, limit: int) -> Any:
    """Return the value in plain JSON types, with texts that UTF-8 can encode."""
    if isinstance(value, dict):
        return {str(_json_value(str(key), limit)): _json_value(item, limit) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item, limit) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value).encode("utf-8", "replace").decode()
    return text if len(text) <= limit else f"{text[:limit]} [cut: {len(text) - limit} characters more]"
