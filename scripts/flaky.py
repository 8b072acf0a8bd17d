"""Finds tests that fail only sometimes: `python -m scripts.flaky FILE …`, or `make flaky FILES="…"`.

Runs the test files several times in a row, while other processes keep the processors busy. Names each failed test of
each run and counts its failures at the end.
"""

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
FAILURE = re.compile(r"^(?:SUB)?(?:FAILED|ERROR)(?:[\[(].*?[\])])? (\S+\.py(?:::.*?)?)(?: - .*)?$", re.MULTILINE)
OPTIONS = ("-q", "-rfE", "--color=no", "--tb=short", "-p", "no:cacheprovider")


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run `count` processes that never wait."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def failures(files: Sequence[str]) -> list[str]:
    """Run the tests of `files` once, and return the failed ones; print the output if there are any."""
    command = [sys.executable, "-m", "pytest", *OPTIONS, *files]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if not done.returncode:
        return []
    print(done.stdout)
    return sorted(set(FAILURE.findall(done.stdout))) or [f"pytest ended with status {done.returncode}"]


def main(arguments: Sequence[str]) -> int:
    """Run the tests as the arguments ask, and print the failures of each run; return 1 if there are any."""
    parser = argparse.ArgumentParser(prog="flaky", description="Find tests that fail only sometimes.")
    parser.add_argument("files", nargs="+", help="test files, or tests, as pytest takes them")
    parser.add_argument("--runs", type=int, default=10, help="number of runs (10)")
    parser.add_argument("--busy", type=int, default=4, help="number of busy processes beside them (4)")
    options = parser.parse_args(arguments)

    counted: Counter[str] = Counter()
    with busy_processes(options.busy):
        for number in range(1, options.runs + 1):
            failed = failures(options.files)
            counted.update(failed)
            print(f"run {number} of {options.runs}: {', '.join(failed) or 'passed'}", flush=True)
    for test, count in counted.most_common():
        print(f"failed in {count} of {options.runs} runs: {test}")
    return bool(counted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
