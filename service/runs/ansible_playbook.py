"""Runs `ansible-playbook` in a forked process, which has Ansible imported and the inventory loaded.

Conditions: the environment equals the one that Ansible was imported with, except the variables in `settings.RUNS_OWN`;
and the preloaded files have not changed. A run that fails a condition starts `ansible-playbook` as a program, with the
same result but more time.
"""

import importlib
import os
import secrets
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import process, resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from service.inventory import preload
from service.model.settings import RUNS_OWN
from service.runs.process_tree import set_process_name

if TYPE_CHECKING:
    from service.inventory.ansible_inventory import LoadedInventory

UNEXPECTED_EXCEPTION = 250  # exit status of ansible-playbook for an unexpected exception
_FIRST_DESCRIPTOR = 3  # standard input, output and error stay open


def reason_not_to_fork(loaded: "LoadedInventory", environment: Mapping[str, str]) -> str:
    """Return why a run with this environment (as completed by ansible-runner) cannot be forked; empty = it can."""
    if loaded.needs_extra_vars:
        return "An inventory plugin uses extra variables (use_extra_vars)"
    return preload.reason_not_to_fork(environment)


def run(
    loaded: "LoadedInventory", arguments: Sequence[str], environment: Mapping[str, str], prepare: Callable[[], None]
) -> NoReturn:
    """Run `ansible-playbook` with these arguments (the first is the program's name), then end the process.

    The process must be a new fork that already has its terminal and working directory. `prepare` is pexpect's
    preexec_fn, which is called first.
    """
    status: Any = UNEXPECTED_EXCEPTION
    try:
        prepare()
        os.closerange(_FIRST_DESCRIPTOR, os.sysconf("SC_OPEN_MAX"))  # as exec does; pexpect waits for the close
        preload.set_environment(environment)
        _reset_process_state()
        set_process_name(Path(arguments[0]).name)
        sys.argv = list(arguments)
        wait_for_results()
        cli: Any = importlib.import_module("ansible.cli")
        cli.CLI._play_prereqs = staticmethod(partial(_play_prereqs, loaded))
        importlib.import_module("ansible.cli.playbook").main(sys.argv)
    except SystemExit as end:
        status = end.code
    except BaseException:  # the stack above belongs to the parent process: nothing may propagate
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


def _play_prereqs(loaded: "LoadedInventory") -> tuple[Any, Any, Any]:
    """Return what `ansible-playbook` starts with: it does not read the inventory again, and it connects already."""
    loader, inventory, variables = loaded.play_prereqs()
    importlib.import_module("service.runs.early_connection").open_connection(loader, inventory, variables)
    return loader, inventory, variables


def wait_for_results() -> None:
    """Let Ansible wait for results instead of polling, where it can.

    This only saves processor time, and hooks into classes of Ansible that any version may move.
    """
    with suppress(ImportError, AttributeError):
        importlib.import_module("service.runs.result_wakeup").install()


def _reset_process_state() -> None:
    """Reset what a new process would have of its own: standard streams, settings, multiprocessing and random state."""
    tempfile.tempdir = None  # recomputed from the run's environment
    process._current_process = preload.main_process()  # type: ignore[attr-defined]
    process._parent_process = None  # type: ignore[attr-defined]
    process._children = set()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._fd = None  # type: ignore[attr-defined]
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", 1, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    preload.read_settings(RUNS_OWN)
    variables = importlib.import_module("ansible.utils.vars")
    vars(variables)["random_int"] = secrets.token_hex(4)  # part of the id of every play and Ansible task
