"""The results as a page that needs nothing else: a bar for each ratio, its spread, and its goal."""

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from .results import Result

_WIDTH, _ROW, _NAMES, _FIGURES = 1100, 30, 430, 190  # pixels
_HEAD = 50  # pixels above the first row
_PLAIN, _MET, _MISSED = "#64748b", "#15803d", "#b91c1c"
_STYLE = "body{font:14px system-ui,sans-serif;margin:2rem;color:#1e293b;background:#fff} text{font:13px system-ui}"


def plot(results: Sequence[Result], path: Path) -> None:
    """Write the page; ratios stand on a logarithmic scale, where half as much is as far away as twice as much."""
    low, high = _range(results)
    height = _HEAD + _ROW * len(results) + 10

    def x(ratio: float) -> float:
        share = (math.log10(ratio) - low) / (high - low)
        return _NAMES + share * (_WIDTH - _NAMES - _FIGURES)

    marks = [10.0**power for power in range(math.ceil(low), math.floor(high) + 1)]
    parts = [_grid(x(mark), f"{mark:g}", height) for mark in marks]
    parts += [_row(result, _HEAD + _ROW * number, x) for number, result in enumerate(results)]
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Benchmarks</title><style>{_STYLE}</style>"
        "<h1>Side by side: ratios, ours to theirs</h1>"
        "<p>Medians of interleaved runs. The bar is the ratio, the thin line its lowest and highest repetition, the "
        "upright stroke the goal. Green: reached; red: missed; grey: no goal.</p>"
        f'<svg width="{_WIDTH}" height="{height}" role="img" aria-label="ratios, ours to theirs">{"".join(parts)}</svg>'
        "</html>\n",
        encoding="utf-8",
    )


def _range(results: Sequence[Result]) -> tuple[float, float]:
    """Powers of ten that hold every ratio and goal, one at least apart."""
    logs = [math.log10(value) for result in results for value in _values(result)]
    low = math.floor(min(logs, default=-1))
    return low, max(math.ceil(max(logs, default=0)), low + 1)


def _values(result: Result) -> Iterable[float]:
    yield from (result.ratio, *result.spread)
    if (goal := _goal(result)) is not None:
        yield goal


def _goal(result: Result) -> float | None:
    """Return the goal as a ratio."""
    if result.goal is None:
        return None
    return result.goal.at_most if result.goal.of == "ratio" else result.goal.at_most / result.theirs


def _grid(x: float, label: str, height: int) -> str:
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_HEAD - 15}" y2="{height}" stroke="#cbd5e1"/>'
        f'<text x="{x:.1f}" y="{_HEAD - 20}" text-anchor="middle">{label}</text>'
    )


def _row(result: Result, top: int, x: Callable[[float], float]) -> str:
    colour = {None: _PLAIN, True: _MET, False: _MISSED}[result.is_met]
    middle, (low, high) = top + _ROW // 2, result.spread
    goal = _goal(result)
    stroke = "" if goal is None else f'<path d="M{x(goal):.1f} {top + 2}v{_ROW - 4}" stroke="#000" stroke-width="2"/>'
    return (
        f'<text x="0" y="{middle + 4}">{escape(result.name)}</text>'
        f'<rect x="{_NAMES}" y="{top + 7}" width="{max(x(result.ratio) - _NAMES, 1):.1f}" height="{_ROW - 14}" '
        f'fill="{colour}" opacity=".75"/>'
        f'<path d="M{x(low):.1f} {middle}H{x(high):.1f}" stroke="#0f172a"/>{stroke}'
        f'<text x="{_WIDTH - _FIGURES + 12}" y="{middle + 4}">{result.ratio:.3g}  ({result.ours:.3g} / '
        f"{result.theirs:.3g} {escape(result.unit)})</text>"
    )
