"""Starts a command, and kills it with all that it has started as soon as a lab host is in a certain state.

python -m tests.roles.halfway LAB-DIRECTORY 'SHELL CONDITION ON THE HOST' COMMAND...
"""

import shlex
import subprocess
import sys
from pathlib import Path

from tests.forks.process_tree import kill_tree
from tests.lab import Lab, LabError

_DEADLINE = 60  # seconds


def main() -> None:
    directory, condition, *command = sys.argv[1:]
    (host,) = Lab(Path(directory)).hosts.values()
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        # One program on the host that checks repeatedly: starting one for each check would be too slow.
        host.run(f"timeout {_DEADLINE} bash -c {shlex.quote(f'until {condition}; do sleep 0.02; done')}")
        problem = "It ended before it could be killed." if run.poll() is not None else None
    except LabError:
        problem = f"It never came to: {condition}"
    if run.poll() is None:
        kill_tree(run.pid)
    output, _ = run.communicate(timeout=_DEADLINE)  # at its end, all that have it are dead
    if problem:
        sys.exit(f"{problem}\n{output}")


if __name__ == "__main__":
    main()
