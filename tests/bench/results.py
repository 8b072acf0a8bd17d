"""Results of measurements, as data, as a table in a terminal, and as a file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A limit of the design (section 10), for the ratio or for our own figure."""

    at_most: float
    of: str = "ratio"  # or "ours"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row: medians and their ratio. `runs` holds [ours, theirs] of each repetition, in `unit`."""

    name: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    goal: Goal | None
    runs: list[tuple[float, float]]

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest ratio of one repetition."""
        ratios = [ours / theirs for ours, theirs in self.runs]
        return min(ratios), max(ratios)

    @property
    def is_met(self) -> bool | None:
        """The goal is reached; None without one."""
        if self.goal is None:
            return None
        return (self.ratio if self.goal.of == "ratio" else self.ours) <= self.goal.at_most


def compare(name: str, unit: str, ours: Sequence[float], theirs: Sequence[float], goal: Goal | None = None) -> Result:
    """Return the result of two series that were measured side by side."""
    middle, other = median(ours), median(theirs)
    return Result(
        name=name,
        unit=unit,
        ours=middle,
        theirs=other,
        ratio=middle / other,
        goal=goal,
        runs=list(zip(ours, theirs, strict=True)),
    )


def table(results: Sequence[Result]) -> Table:
    """Return the results as text for people."""
    drawn = Table("What, against what", "Unit", title="Side by side: medians of interleaved runs")
    for heading in ("ours", "theirs", "ratio", "lowest to highest", "goal"):
        drawn.add_column(heading, justify="right")
    for result in results:
        low, high = result.spread
        drawn.add_row(
            result.name,
            result.unit,
            _figure(result.ours),
            _figure(result.theirs),
            _figure(result.ratio),
            f"{_figure(low)} to {_figure(high)}",
            _goal(result),
        )
    return drawn


def save(results: Sequence[Result], path: Path) -> None:
    """Write the results as JSON: a list of {name, unit, ours, theirs, ratio, goal, runs, spread}."""
    rows = [asdict(result) | {"spread": result.spread} for result in results]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _figure(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _goal(result: Result) -> Text:
    if result.goal is None:
        return Text("")
    unit = "" if result.goal.of == "ratio" else f" {result.unit}"
    return Text(f"≤ {result.goal.at_most:g}{unit} {'✓' if result.is_met else '✗'}", "green" if result.is_met else "red")
