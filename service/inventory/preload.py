"""Imports Ansible once, in the fork server, for all processes that are forked from it.

Importing Ansible and its plugins costs 0.4 s (docs/reference/ansible-costs.md). Ansible reads most settings from the
environment when it is imported: `extend_environment` re-reads those that change, and `reason_not_to_fork` reports when
a fork would differ from a new `ansible-playbook`.
"""

import gc
import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import process
from pathlib import Path
from typing import Any

from ansible_runner.config.runner import RunnerConfig

from service.model.settings import RUNS_OWN

PLUGINS: Mapping[str, Sequence[str]] = {
    "action": ("ansible.builtin.normal", "ansible.builtin.raw"),
    "cache": ("ansible.builtin.memory",),
    # By the short names that Ansible uses. ansible-runner's is not loaded: its import changes Ansible's output.
    "callback": ("default", "junit", "minimal", "oneline", "tree", "obproxy.takeover.obproxy_takeover_record"),
    "inventory": tuple(f"ansible.builtin.{name}" for name in ("auto", "host_list", "ini", "script", "toml", "yaml")),
    "lookup": ("ansible.builtin.template",),
    "strategy": ("ansible.builtin.linear",),
}
"""Plugins that most inventories and runs use. Others are loaded when they are used, which only takes time."""

COLLECTION = "obproxy.takeover"
"""Name of this project's Ansible collection (galaxy.yml)."""

FileStamp = tuple[int, int]  # mtime (ns), size (bytes)


@dataclass(frozen=True, kw_only=True)
class Preloaded:
    """Describes the imported Ansible."""

    environment: Mapping[str, str]
    files: Mapping[Path, FileStamp]
    main_process: process.BaseProcess  # multiprocessing's object for the main process of a program


_preloaded: Preloaded | None = None
_failure = "Ansible is not preloaded"


def load(
    environment: Mapping[str, str], *, actions: Sequence[Path], others: Sequence[Path], project: Path | None = None
) -> None:
    """Import Ansible for runs with this `environment`. Does not raise: `reason_not_to_fork` reports a failure.

    `actions` are this project's action plugins, `others` its configuration and the modules that plugins import. Ansible
    reads these files once. The playbooks and roles of `project` are parsed, and their templates compiled.
    """
    global _preloaded, _failure
    former = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory(prefix="takeover-ansible-") as directory, _blocking_streams():
            complete = _completed_by_ansible_runner(environment, directory)
            set_environment(complete)
            files = {path: _stamp(path) for path in (*actions, *others)}
            import_ansible([f"{COLLECTION}.{path.stem}" for path in actions])
            importlib.import_module("service.inventory.service_view")  # every snapshot process uses it
            if project is not None:
                _read_project(project)
        _preloaded = Preloaded(environment=_shared(complete), files=files, main_process=process.current_process())
    except (Exception, SystemExit) as error:  # runs can start ansible-playbook as a program instead
        _failure = f"{type(error).__name__} while Ansible was preloaded: {error}"
    finally:
        set_environment(former)
        gc.collect()
        gc.freeze()  # a garbage collection in a forked process would copy these pages


def _read_project(project: Path) -> None:
    """Parse the playbooks and roles, and compile their templates."""
    parsed_files: Any = importlib.import_module("service.inventory.parsed_files")
    parsed_files.parse_project(parsed_files.ParsingLoader(), project)
    # It only saves time, and uses private modules of Ansible, which any version may move.
    with suppress(Exception):
        compiled_templates: Any = importlib.import_module("service.inventory.compiled_templates")
        compiled_templates.compile_all(parsed_files.template_contents())


def extend_environment(variables: Mapping[str, str]) -> None:
    """Add `variables` to the environment and re-read Ansible's settings; raises RuntimeError when `load` failed."""
    global _preloaded
    if _preloaded is None:
        raise RuntimeError(_failure)
    changed = {name for name, value in variables.items() if _preloaded.environment.get(name) != value}
    _preloaded = replace(_preloaded, environment={**_preloaded.environment, **variables})
    set_environment(_preloaded.environment)
    read_settings(changed)


def reason_not_to_fork(environment: Mapping[str, str]) -> str:
    """Return why a run with this environment (as completed by ansible-runner) cannot be forked; empty = it can."""
    if _preloaded is None:
        return _failure
    current, expected = _shared(environment), _preloaded.environment
    different = {name for name in {*current, *expected} if current.get(name) != expected.get(name)}
    if different:
        return f"Its environment differs: {', '.join(sorted(different))}"
    changed = [str(path) for path, stamp in _preloaded.files.items() if _stamp(path) != stamp]
    return f"Changed since the service was started: {', '.join(changed)}" if changed else ""


def main_process() -> process.BaseProcess:
    """Return multiprocessing's object for the main process of a program."""
    assert _preloaded is not None, "reason_not_to_fork is not empty otherwise"
    return _preloaded.main_process


def set_environment(environment: Mapping[str, str]) -> None:
    """Replace the whole environment of this process."""
    os.environ.clear()
    os.environ.update(environment)


def read_settings(variables: Collection[str]) -> None:
    """Re-read the settings of Ansible that depend on one of these environment variables."""
    constants: Any = importlib.import_module("ansible.constants")
    for name, definition in constants.config.get_configuration_definitions().items():
        if not {variable["name"] for variable in definition.get("env") or ()}.isdisjoint(variables):
            constants.set_constant(name, constants.config.get_config_value(name, variables=vars(constants)))


@contextmanager
def _blocking_streams() -> Iterator[None]:
    """Replace the standard streams within the block.

    Ansible cannot be imported with non-blocking streams, and another process may have made those of the service
    non-blocking. A run gets streams of its own.
    """
    former = sys.stdin, sys.stdout, sys.stderr
    with open(os.devnull, "r+", encoding="utf-8") as null:  # noqa: PTH123 - a device
        sys.stdin = sys.stdout = sys.stderr = null
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr = former


def _completed_by_ansible_runner(environment: Mapping[str, str], directory: str) -> dict[str, str]:
    """Return the environment of a run with the variables that ansible-runner adds."""
    set_environment({**environment, "ANSIBLE_LOCAL_TEMP": directory})
    config = RunnerConfig(directory, playbook="none.yml", inventory=directory, ident="none", fact_cache_type="memory")
    config.prepare()
    return {str(name): str(value) for name, value in config.env.items()}


def import_ansible(own_actions: Sequence[str]) -> None:
    """Import Ansible and the plugins that every run needs."""
    importlib.import_module("ansible.constants")
    importlib.import_module("ansible.cli.playbook")
    loader = importlib.import_module("ansible.plugins.loader")
    loader.init_plugin_loader()
    # Each run calls it again; the only effect is this warning.
    warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")
    for kind, names in {**PLUGINS, "action": [*PLUGINS["action"], *own_actions]}.items():
        for name in names:
            getattr(loader, f"{kind}_loader").get(name, class_only=True)
    for kind in ("become", "connection", "shell"):  # Ansible loads all of these in each run
        list(getattr(loader, f"{kind}_loader").all(class_only=True))
    for kind in ("filter", "test"):  # … and caches instances of these
        list(getattr(loader, f"{kind}_loader").all())


def _shared(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in RUNS_OWN}


def _stamp(path: Path) -> FileStamp:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)
