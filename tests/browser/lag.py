"""Lag between writing a log line and showing it."""

import statistics
from collections.abc import Sequence
from itertools import pairwise

MEDIAN_LIMIT = 250  # milliseconds
INTERVAL_FACTOR = 5  # on a busy machine the limit is this multiple of the median interval between lines


def lag_is_small(lines: Sequence[tuple[float, float]]) -> bool:
    """Return whether the median lag of `lines` is small. Each has its times of writing and showing, in milliseconds."""
    lag = statistics.median(shown - written for written, shown in lines)
    interval = statistics.median(after - before for (before, _), (after, _) in pairwise(lines))
    print(f"lag {lag:.0f} ms, a line every {interval:.0f} ms")
    return 0 <= lag <= max(MEDIAN_LIMIT, INTERVAL_FACTOR * interval)
