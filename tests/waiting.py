"""Waits for a condition with a deadline."""

import time
from collections.abc import Callable

_DEADLINE = 60.0
_INTERVAL = 0.1


def until[Found](look: Callable[[], Found | None], what: str, seconds: float = _DEADLINE) -> Found:
    """Return the first true result of `look`; fail with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, what
        time.sleep(_INTERVAL)
    return found
