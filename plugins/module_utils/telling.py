"""Telling the takeover service of runs that were started by hand."""

import json
from typing import Any

from . import asking
from .asking import NotReached, Refused

__all__ = ["LARGEST", "NotReached", "Refused", "Service", "fitting"]

PATH = "/api/v2/obproxy/externalRuns"
LARGEST = 900_000  # bytes of a request: the service takes 1 MiB unless it is set otherwise
CUTS = (16_000, 4_000, 1_000, 200)  # characters of one text: the first with which a request is small enough


class Service(asking.Service):
    """The service, told of runs."""

    def tell(self, run: dict[str, Any]) -> int:
        """Have a run recorded; the id of its task instance. Raises Refused and NotReached."""
        try:
            return int(self.ask(PATH, fitting(run))["id"])
        except NotReached as error:
            raise NotReached(f"{error}; it may be recorded all the same" if error.is_late else str(error)) from None
        except (ValueError, LookupError, TypeError):
            raise NotReached(asking.STRANGER) from None


def fitting(run: dict[str, Any]) -> bytes:
    """The JSON of a run, its texts cut until the service can take it; what is too large even then it will refuse."""
    body = b""
    for cut in CUTS:
        body = json.dumps(_plain(run, cut)).encode()
        if len(body) <= LARGEST:
            break
    return body


def _plain(value: Any, cut: int) -> Any:
    """The same of plain JSON types, without what no UTF-8 can carry."""
    if isinstance(value, dict):
        return {str(_plain(str(key), cut)): _plain(item, cut) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, cut) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value).encode("utf-8", "replace").decode()
    return text if len(text) <= cut else f"{text[:cut]} [cut: {len(text) - cut} characters more]"
