"""Mutation tests: `python -m scripts.mutants [MODULE …]`, or `make mutants MODULES="…"`.

Changes one place of a module at a time and runs the closest unit tests: those that import the module, and those that
`scripts/mutants/modules.yml` adds. Lists by line the mutations that no test notices.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from scripts.mutants import processes, scope, session
from scripts.mutants.mutations import Mutation
from scripts.mutants.subjects import ModuleSubject

INTERVAL = 30.0  # seconds between lines of progress where there is no terminal


@dataclass(frozen=True)
class Result:
    """Mutations of one module: their number, and those that survived."""

    module: scope.Module
    count: int
    equivalent: int
    survivors: tuple[Mutation, ...]

    @property
    def percent(self) -> float:
        """Share of killed mutations among those that are not equivalent."""
        counted = self.count - self.equivalent
        return 100 * (1 - len(self.survivors) / counted) if counted else 100.0


class Progress:
    """Shows how many mutations are done: in place on a terminal, else a line every half a minute."""

    def __init__(self, path: str, total: int) -> None:
        self._path = path
        self._total = total
        self._done = 0
        self._shown = time.monotonic()

    def one_more(self) -> None:
        """Count a mutation."""
        self._done += 1
        on_terminal, now = sys.stderr.isatty(), time.monotonic()
        if on_terminal or now - self._shown >= INTERVAL:
            self._shown = now
            end = "\r" if on_terminal else "\n"
            print(f"{self._path}: {self._done} of {self._total}", end=end, file=sys.stderr, flush=True)


def tested(module: scope.Module, at_once: int) -> Result:
    """Run the tests of one module with each of its mutations."""
    every = module.mutations()
    progress = Progress(module.path, len(every))
    survivors: list[Mutation] = []
    for mutation, status in _runs(module, every, at_once):
        progress.one_more()
        if status == session.SURVIVED:
            survivors.append(mutation)
    equivalent = [mutation for mutation in survivors if module.explains(mutation.before, mutation.after)]
    alive = [mutation for mutation in survivors if mutation not in equivalent]
    return Result(module, len(every), len(equivalent), tuple(sorted(alive, key=lambda mutation: mutation.line)))


def _runs(module: scope.Module, every: Sequence[Mutation], at_once: int) -> Iterator[tuple[Mutation, int]]:
    """Yield each mutation with the exit status of its run: at first those that need no other import."""
    tests = [str(file) for file in module.tests]
    subject = module.subject()
    imported: list[Mutation] = []
    runs = session.run(subject, tests, every, at_once)
    try:
        profile = next(runs)
        assert isinstance(profile, session.Profile)
        for message in runs:
            assert isinstance(message, tuple)
            if message[1] == session.IMPORTED:
                imported.append(message[0])
            else:
                yield message
    except session.TestsFailed as error:
        command = f"python -m pytest {' '.join(tests)}"
        raise SystemExit(f"{module.path}: its tests fail without a mutation, {error}: {command}") from error
    processes.preload(profile.libraries)  # also for the next module

    def start(mutation: Mutation) -> processes.Fork:
        assert isinstance(subject, ModuleSubject)
        finders = [subject.mutated(mutation)]
        return processes.Fork(
            partial(session.run_again, finders, tests, profile.order(subject, mutation)), profile.limit
        )

    for mutation, ended in processes.each(imported, start, at_once):
        yield mutation, ended.status


def report(result: Result, seconds: float) -> None:
    """Print the survivors of one module by line, and its numbers."""
    for mutation in result.survivors:
        print(f"{result.module.path}:{mutation.line}: {mutation.before}\n    -> {mutation.after or '(removed)'}")
    print(
        f"{result.module.path}: {result.percent:.1f} % killed of {result.count - result.equivalent} mutations, "
        f"{len(result.survivors)} survived, {result.equivalent} equivalent, {seconds:.0f} s",
        flush=True,
    )


def main(arguments: Sequence[str]) -> int:
    """Test the modules that the arguments name, or all; return 1 if one is below its limit."""
    parser = argparse.ArgumentParser(prog="mutants", description="Find behavior that no test checks.")
    parser.add_argument("modules", nargs="*", help="files, folders or names of modules; all if there are none")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="test runs at the same time")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and ends the forks before
    os.chdir(scope.ROOT)
    sys.path[:0] = [str(scope.ROOT), str(scope.ROOT / ".collections")]
    below: list[str] = []
    for module in scope.modules(options.modules):
        started = time.monotonic()
        result = tested(module, options.jobs)
        report(result, time.monotonic() - started)
        if result.percent < module.least:
            below.append(f"{module.path}: {result.percent:.1f} % of mutations killed, {module.least} % needed")
    print(*below, sep="\n", end="\n" if below else "")
    return bool(below)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
