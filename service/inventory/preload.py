"""Imports Ansible ahead, in the server that everything is forked from which needs it.

Importing Ansible and its plugins costs 0.4 s of every run (docs/reference/ansible-costs.md). `load` does it once.
Ansible reads most of its settings from the environment at its import. `adopt` takes another environment into account,
and `obstacle` says why a process cannot stand for a newly started `ansible-playbook`.
"""

import gc
import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import process
from pathlib import Path
from typing import Any

from ansible_runner.config.runner import RunnerConfig

from service.model.settings import RUNS_OWN

PLUGINS: Mapping[str, Sequence[str]] = {
    "action": ("ansible.builtin.normal", "ansible.builtin.raw"),
    "cache": ("ansible.builtin.memory",),
    "callback": ("ansible.builtin.default", "ansible.builtin.junit", "ansible.builtin.minimal"),
    "inventory": tuple(f"ansible.builtin.{name}" for name in ("auto", "host_list", "ini", "script", "toml", "yaml")),
    "lookup": ("ansible.builtin.template",),
    "strategy": ("ansible.builtin.linear",),
}
"""Plugins of most inventories and runs. Nothing depends on this list but time: what is missing is loaded later."""

COLLECTION = "obproxy.takeover"
"""The Ansible collection that this project is (galaxy.yml)."""

Stamp = tuple[int, int]  # when a file was written, and its size


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Describes the imported Ansible."""

    environment: Mapping[str, str]
    files: Mapping[Path, Stamp]
    first: process.BaseProcess  # what multiprocessing says the first process of a program is


_loaded: Loaded | None = None
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
            set_environment(whole)
            files = {path: _stamp(path) for path in (*actions, *others)}
            _import_ansible([f"{COLLECTION}.{path.stem}" for path in actions])
        _loaded = Loaded(environment=_shared(whole), files=files, first=process.current_process())
    except (Exception, SystemExit) as error:  # a process loop: whatever it is, runs can be started without
        _reason = f"{type(error).__name__} while Ansible was imported ahead: {error}"
    finally:
        set_environment(former)
        gc.collect()
        gc.freeze()  # a collection in a forked process would copy all of this


def adopt(more: Mapping[str, str]) -> None:
    """Go on with `more` variables in the environment, and set it; raises RuntimeError when Ansible is not imported."""
    global _loaded
    if _loaded is None:
        raise RuntimeError(_reason)
    changed = {name for name, value in more.items() if _loaded.environment.get(name) != value}
    _loaded = replace(_loaded, environment={**_loaded.environment, **more})
    set_environment(_loaded.environment)
    read_settings(changed)


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


def first_process() -> process.BaseProcess:
    """Return what multiprocessing says the first process of a program is."""
    assert _loaded is not None, "there is an obstacle otherwise"
    return _loaded.first


def set_environment(environment: Mapping[str, str]) -> None:
    """Make this the whole environment."""
    os.environ.clear()
    os.environ.update(environment)


def read_settings(variables: Collection[str]) -> None:
    """Read those settings of Ansible again that depend on one of these environment variables."""
    constants: Any = importlib.import_module("ansible.constants")
    for name, definition in constants.config.get_configuration_definitions().items():
        if not {variable["name"] for variable in definition.get("env") or ()}.isdisjoint(variables):
            constants.set_constant(name, constants.config.get_config_value(name, variables=vars(constants)))


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
    set_environment({**environment, "ANSIBLE_LOCAL_TEMP": directory})
    config = RunnerConfig(directory, playbook="none.yml", inventory=directory, ident="none", fact_cache_type="memory")
    config.prepare()
    return {str(name): str(value) for name, value in config.env.items()}


def _import_ansible(own_actions: Sequence[str]) -> None:
    """Import what every run needs."""
    importlib.import_module("ansible.constants")
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
    for kind in ("filter", "test"):  # … and keeps instances of these; of vars plugins when it first looks for variables
        list(getattr(loader, f"{kind}_loader").all())


def _shared(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in RUNS_OWN}


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
