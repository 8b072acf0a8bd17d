"""Is `ansible-playbook` by a fork: of a process that has Ansible imported, and the run's inventory read.

A run may be forked only where its environment is the one in which Ansible was imported, but for the variables of
`settings.RUNS_OWN`, which are read anew; and only while the files that were read ahead have not changed. A run that
cannot be forked starts `ansible-playbook` as a program, on the same inventory: nothing but time is lost.
"""

import importlib
import os
import secrets
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import process, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from service.inventory import preload
from service.model.settings import RUNS_OWN
from service.runs.process_tree import take_name

if TYPE_CHECKING:
    from service.inventory.ansible_inventory import Held

CRASHED = 250  # exit status of ansible-playbook for what it did not expect
_STANDARD = 3  # file descriptors that stay open: standard input, output and errors


def obstacle(held: "Held", environment: Mapping[str, str]) -> str:
    """Say why a run with this environment, as ansible-runner has made it, cannot be forked; empty = it can."""
    if held.needs_extra_vars:
        return "An inventory plugin uses extra variables (use_extra_vars)"
    return preload.obstacle(environment)


def play(
    held: "Held", arguments: Sequence[str], environment: Mapping[str, str], prepare: Callable[[], None]
) -> NoReturn:
    """Be `ansible-playbook` with these arguments (the first is the program's name) from here to this process's end.

    For a process that was forked just now, has its terminal, and is in its working directory; `prepare` comes first.
    """
    status: Any = CRASHED
    try:
        prepare()
        os.closerange(_STANDARD, os.sysconf("SC_OPEN_MAX"))  # as an exec would; pexpect waits for that
        preload.set_environment(environment)
        _begin_anew()
        take_name(Path(arguments[0]).name)
        sys.argv = list(arguments)
        cli: Any = importlib.import_module("ansible.cli")
        cli.CLI._play_prereqs = held.play_prereqs  # the inventory is not read again
        importlib.import_module("ansible.cli.playbook").main(sys.argv)
    except SystemExit as end:
        status = end.code
    except BaseException:  # nothing may get out of here: above stands another process's code
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


def _begin_anew() -> None:
    """What a new process would have of its own: standard streams, settings, identity."""
    tempfile.tempdir = None  # it is found anew, by the run's environment
    process._current_process = preload.first_process()  # type: ignore[attr-defined]
    process._parent_process = None  # type: ignore[attr-defined]
    process._children = set()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._fd = None  # type: ignore[attr-defined]
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", 1, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    preload.read_settings(RUNS_OWN)
    variables = importlib.import_module("ansible.utils.vars")
    vars(variables)["random_int"] = secrets.token_hex(4)  # a part of the id of every play and Ansible task
