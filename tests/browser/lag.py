"""How late what was said comes to the screen."""

import statistics
from collections.abc import Sequence
from itertools import pairwise

LAG = 250  # milliseconds in the median …
SLOWEST = 5  # … or so many times as long as from a line to the next, where the machine is busy


def is_soon(lines: Sequence[tuple[float, float]]) -> bool:
    """Whether `lines` came soon; each is when it was said and when it was shown, in milliseconds of one clock."""
    lag = statistics.median(shown - said for said, shown in lines)
    pace = statistics.median(after - before for (before, _), (after, _) in pairwise(lines))
    print(f"lag {lag:.0f} ms, a line every {pace:.0f} ms")
    return 0 <= lag <= max(LAG, SLOWEST * pace)
