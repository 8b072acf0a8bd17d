"""Ansible by a fork: imported in the server that runs are forked from, so that no run pays for its start.

Importing Ansible and its plugins costs 0.4 s of every run (docs/reference/ansible-costs.md). `load` does it once, in
the server; `play` is what a run's child forks instead of executing `ansible-playbook`. Ansible reads most of its
settings from the environment at its import, so a run may be forked only where its environment is the server's, but for
the variables of `OWN`, which are read anew; and only while the files that were read ahead have not changed. `obstacle`
says what stands in the way, and such a run starts `ansible-playbook` as a program: nothing but time is lost.
"""

import gc
import importlib
import os
import secrets
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import process, resource_tracker
from pathlib import Path
from typing import Any, NoReturn

from ansible_runner.config.runner import RunnerConfig

from service.runs.process_tree import take_name

OWN = frozenset(
    (
        "JOB_ID",
        "OBPROXY_TAKEOVER",
        "ANSIBLE_SSH_CONTROL_PATH_DIR",
        "ANSIBLE_LOCAL_TEMP",
        "AWX_ISOLATED_DATA_DIR",
        "TMPDIR",
    )
)
"""Variables of which each run has its own value."""

PLUGINS: Mapping[str, Sequence[str]] = {
    "action": ("ansible.builtin.normal", "ansible.builtin.raw"),
    "cache": ("ansible.builtin.memory",),
    "callback": ("ansible.builtin.default", "ansible.builtin.junit", "ansible.builtin.minimal"),
    "inventory": ("ansible.builtin.yaml",),
    "lookup": ("ansible.builtin.template",),
    "strategy": ("ansible.builtin.linear",),
}
"""What a run uses of Ansible. Nothing depends on this list but time: a run loads by itself what is missing here."""

COLLECTION = "obproxy.takeover"
"""The Ansible collection that this project is (galaxy.yml)."""

CRASHED = 250  # exit status of ansible-playbook for what it did not expect
_STANDARD = 3  # file descriptors that stay open: standard input, output and errors

Stamp = tuple[int, int]  # when a file was written, and its size


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    environment: Mapping[str, str]
    files: Mapping[Path, Stamp]
    settings: Sequence[str]  # of Ansible, that depend on a variable of OWN
    first: process.BaseProcess  # what multiprocessing says the first process of a program is


_loaded: _Loaded | None = None
_reason = "Ansible was not imported ahead"


def load(environment: Mapping[str, str], *, actions: Sequence[Path], others: Sequence[Path]) -> None:
    """Import Ansible for runs with this `environment`; without success, `obstacle` says why.

    `actions` are this project's action plugins; they and `others`, its configuration and what plugins import, are the
    files that Ansible keeps once it has read them.
    """
    global _loaded, _reason
    former = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory(prefix="takeover-ansible-") as directory, _blocking_streams():
            whole = _as_ansible_runner_has_it(environment, directory)
            _set_environment(whole)
            files = {path: _stamp(path) for path in (*actions, *others)}
            settings = _import_ansible([f"{COLLECTION}.{path.stem}" for path in actions])
        _loaded = _Loaded(environment=_shared(whole), files=files, settings=settings, first=process.current_process())
    except (Exception, SystemExit) as error:  # a process loop: whatever it is, runs can be started without
        _reason = f"{type(error).__name__} while Ansible was imported ahead: {error}"
    finally:
        _set_environment(former)
        gc.collect()
        gc.freeze()  # a collection in a forked process would copy all of this


def obstacle(environment: Mapping[str, str]) -> str:
    """Why a run with this environment, as ansible-runner has made it, cannot be forked; empty = it can."""
    if _loaded is None:
        return _reason
    wanted = _shared(environment)
    different = {name for name in {*wanted, *_loaded.environment} if wanted.get(name) != _loaded.environment.get(name)}
    if different:
        return f"Its environment is another: {', '.join(sorted(different))}"
    changed = [str(path) for path, stamp in _loaded.files.items() if _stamp(path) != stamp]
    return f"Changed since the service was started: {', '.join(changed)}" if changed else ""


def play(arguments: Sequence[str], environment: Mapping[str, str], prepare: Callable[[], None]) -> NoReturn:
    """Be `ansible-playbook` with these arguments (the first is the program's name) from here to this process's end.

    For a process that was forked just now, has its terminal, and is in its working directory; `prepare` comes first.
    """
    status: Any = CRASHED
    try:
        prepare()
        os.closerange(_STANDARD, os.sysconf("SC_OPEN_MAX"))  # as an exec would; pexpect waits for that
        _set_environment(environment)
        _begin_anew()
        take_name(Path(arguments[0]).name)
        sys.argv = list(arguments)
        from ansible.cli.playbook import main

        main(sys.argv)
    except SystemExit as end:
        status = end.code
    except BaseException:  # nothing may get out of here: above stands another process's code
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


@contextmanager
def _blocking_streams() -> Iterator[None]:
    """Other standard streams for a while: whoever else holds those of the service may have made them non-blocking,
    and Ansible refuses to be imported then. A run gets its own, which block."""
    former = sys.stdin, sys.stdout, sys.stderr
    with open(os.devnull, "r+", encoding="utf-8") as nothing:  # noqa: PTH123 - a device
        sys.stdin = sys.stdout = sys.stderr = nothing
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = former


def _as_ansible_runner_has_it(environment: Mapping[str, str], directory: str) -> dict[str, str]:
    """What ansible-runner makes of the environment of a run."""
    _set_environment({**environment, "ANSIBLE_LOCAL_TEMP": directory})
    config = RunnerConfig(directory, playbook="none.yml", inventory=directory, ident="none", fact_cache_type="memory")
    config.prepare()
    return {str(name): str(value) for name, value in config.env.items()}


def _import_ansible(own_actions: Sequence[str]) -> list[str]:
    """Import what every run needs; the settings that depend on a variable of OWN."""
    constants = importlib.import_module("ansible.constants")
    importlib.import_module("ansible.cli.playbook")
    loader = importlib.import_module("ansible.plugins.loader")
    loader.init_plugin_loader()
    # A run does that again, to no effect but a word about it.
    warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")
    for kind, names in {**PLUGINS, "action": [*PLUGINS["action"], *own_actions]}.items():
        for name in names:
            getattr(loader, f"{kind}_loader").get(name, class_only=True)
    for kind in ("become", "connection", "shell"):  # Ansible itself loads all of these in each run
        list(getattr(loader, f"{kind}_loader").all(class_only=True))
    for kind in ("filter", "test", "vars"):  # … and keeps instances of these
        list(getattr(loader, f"{kind}_loader").all())
    definitions = constants.config.get_configuration_definitions()
    return [
        name
        for name, definition in definitions.items()
        if OWN & {variable["name"] for variable in definition.get("env") or ()}
    ]


def _begin_anew() -> None:
    """What a new process would have of its own: standard streams, settings, identity."""
    assert _loaded is not None
    tempfile.tempdir = None  # it is found anew, by the run's environment
    process._current_process = _loaded.first  # type: ignore[attr-defined]
    process._parent_process = None  # type: ignore[attr-defined]
    process._children = set()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._fd = None  # type: ignore[attr-defined]
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", 1, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    constants = importlib.import_module("ansible.constants")
    for name in _loaded.settings:
        constants.set_constant(name, constants.config.get_config_value(name, variables=vars(constants)))
    variables = importlib.import_module("ansible.utils.vars")
    vars(variables)["random_int"] = secrets.token_hex(4)  # a part of the id of every play and Ansible task


def _set_environment(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _shared(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in OWN}


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
