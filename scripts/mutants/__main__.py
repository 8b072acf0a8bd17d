"""Mutation tests: `python -m scripts.mutants [MODULE …]`, or `make mutants MODULES="…"`.

Changes one place of a module at a time and runs the closest unit tests: those that import the module, and those that
`scripts/mutants/modules.yml` adds. Lists by line the mutations that no test notices.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.mutants import processes, scope
from scripts.mutants.mutations import Mutation, mutations

LONGEST = 300.0  # seconds of the first run


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


def tested(module: scope.Module, at_once: int) -> Result:
    """Run the tests of one module with each of its mutations."""
    tests = [str(file) for file in module.tests]
    first, names = processes.first(tests, LONGEST)
    if first.status:
        raise SystemExit(f"{module.name}: its tests fail without a mutation: python -m pytest {' '.join(tests)}")
    processes.preload(names)
    again, _ = processes.first(tests, LONGEST)
    limit = 5 + 5 * again.seconds
    every = mutations(module.file.read_text(encoding="utf-8"))
    survivors: list[Mutation] = []

    def start(mutation: Mutation) -> processes.Fork:
        finder = processes.Mutated(module.name, module.file, mutation.code)
        return processes.Fork([finder], tests, limit)

    for number, (mutation, ended) in enumerate(processes.each(every, start, at_once), 1):
        if ended.status == 0:
            survivors.append(mutation)
        if sys.stderr.isatty():
            print(f"\r{module.path}: {number} of {len(every)}", end="\r", file=sys.stderr, flush=True)
    equivalent = [mutation for mutation in survivors if module.explains(mutation.before, mutation.after)]
    alive = [mutation for mutation in survivors if mutation not in equivalent]
    return Result(module, len(every), len(equivalent), tuple(sorted(alive, key=lambda mutation: mutation.line)))


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
