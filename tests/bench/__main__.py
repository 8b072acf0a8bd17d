"""`python -m tests.bench`: measure side by side, show a table, write bench-results.json and a plot."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from service.model.settings import PROJECT
from tests.lab import Lab, LabError
from tests.lab.leftovers import SessionDirectory

from . import accounting
from .answers import answers
from .cases import precheck, scale, takeover
from .delays import delays
from .harness import Plan
from .inventory import inventory
from .plot import plot
from .profile import profile
from .results import Result, save, table

Case = Callable[[Path, Plan], list[Result]]
CASES: Mapping[str, tuple[Case, int]] = {
    "answers": (answers, 5),
    "inventory": (inventory, 2),  # reads 5000 hosts each time
    "delays": (delays, 1),  # hundreds of delays each time
    "takeover": (takeover, 4),
    "precheck": (precheck, 5),
    "scale": (scale, 1),  # takes a minute each time
}
"""The cases in their order with their usual repetitions, so that all of them end within ten minutes."""
PROFILED = 5  # takeovers of `--profile`
HOSTS = [1, 50]
WIDTH = 140  # characters of a line where there is no terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurements; the exit status is 0 also when a goal is missed, because a measurement is not a test."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    accounting.begin()
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    if options.profile or not set(options.case) <= {"answers", "inventory"}:
        Lab.prepare()
    results: list[Result] = []
    with (
        SessionDirectory(PROJECT / ".lab", prefix=f"test-bench-{os.getpid()}-") as directory,
        contextlib.closing(Lab(directory)),
    ):
        if options.profile:
            for drawn in profile(_below(directory, "profile"), _plan(options, console, PROFILED)):
                console.print(drawn)
            return 0
        for name in options.case:
            console.rule(name)
            case, usual = CASES[name]
            results += case(_below(directory, name), _plan(options, console, usual))
    console.print(table(results))
    save(results, options.output)
    plot(results, options.output.with_suffix(".html"))
    console.print(f"Load of this machine at the end: {os.getloadavg()[0]:.1f}; results in {options.output}, .html")
    return 0


def _plan(options: argparse.Namespace, console: Console, usual_repetitions: int) -> Plan:
    return Plan(
        repetitions=options.repetitions or usual_repetitions,
        patience=options.patience,
        say=console.print,
        hosts=tuple(options.hosts),
    )


def _below(directory: Path, name: str) -> Path:
    path = directory / name
    path.mkdir(mode=0o700)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES), help="only these")
    usual = ", ".join(f"{name} {repetitions}" for name, (_, repetitions) in CASES.items())
    parser.add_argument("--repetitions", type=int, help=f"of each case (default: {usual})")
    parser.add_argument(
        "--hosts",
        type=int,
        nargs="+",
        default=HOSTS,
        help="of the case scale: how many in one request, the first to compare with (default: %(default)s)",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=10,
        help="seconds to wait for a quiet machine before each (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, default=PROJECT / "bench-results.json")
    parser.add_argument("--profile", action="store_true", help="show where the time of one adoption goes instead")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
