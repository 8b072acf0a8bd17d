"""The inventory as Ansible's own objects: read once, then used by every run that is forked from this process.

Only processes that are forked from the fork server import this module: it imports Ansible.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ansible.inventory.manager as manager
from ansible import cli, constants
from ansible._internal._datatag._tags import Origin, VaultedValue
from ansible._internal._templating._engine import TemplateEngine
from ansible.errors import AnsibleError
from ansible.inventory.group import Group
from ansible.inventory.host import Host as AnsibleHost
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import EncryptedString, VaultHelper
from ansible.plugins.loader import add_all_plugin_dirs
from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.utils.vars import load_extra_vars, load_options_vars
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible.vars.plugins import get_vars_from_inventory_sources, get_vars_from_path

from service.inventory.unparsed import Unparsed
from service.model.errors import InventoryUnreadable
from service.outcome.ansible_results import explained
from service.outcome.masking import Hidden


@dataclass(kw_only=True)
class Held:
    """An inventory that was read."""

    source: Path
    loader: DataLoader
    inventory: manager.InventoryManager
    warnings: list[str] = field(default_factory=list)
    needs_extra_vars: bool = False  # an inventory plugin has asked for a run's extra variables
    clusters: tuple[str, ...] = ()  # the groups of OBProxy clusters

    def play_prereqs(self) -> tuple[DataLoader, manager.InventoryManager, VariableManager]:
        """Stand for `CLI._play_prereqs` of the run that this process becomes."""
        cli._agent_launch.launch_ssh_agent()
        return self.loader, self.inventory, self.variable_manager()

    def variable_manager(self) -> VariableManager:
        """Return a new one, which knows the options of the program that runs now."""
        _forget_options()
        return VariableManager(
            loader=self.loader, inventory=self.inventory, version_info=cli.CLI.version_info(gitinfo=False)
        )

    def add_source(self, path: Path) -> None:
        """Read one more source over what was read, as Ansible does with several `-i`; raises AnsibleError."""
        if not self.inventory.parse_source(str(path)):
            raise AnsibleError(f"{path} cannot be read")
        self.inventory._sources.append(str(path))
        self.inventory.reconcile_inventory()


def read(source: Path, playbooks: Path) -> Held:
    """Read the inventory as `ansible-playbook -i source` does for a playbook in `playbooks`.

    Raises InventoryUnreadable and AnsibleError.
    """
    loader = DataLoader()
    secrets = cli.CLI.setup_vault_secrets(loader, list(constants.DEFAULT_VAULT_IDENTITY_LIST), auto_prompt=False)
    loader.set_vault_secrets(secrets)
    add_all_plugin_dirs(os.fsencode(playbooks))
    AnsibleCollectionConfig.playbook_paths = [os.fsencode(playbooks)]
    unparsed = Unparsed(manager.display, source)
    former, manager.display = manager.display, unparsed
    extra_vars = _ExtraVars()
    try:
        _forget_options()
        vars(load_extra_vars)["extra_vars"] = extra_vars
        inventory = manager.InventoryManager(loader=loader, sources=[str(source)])
    finally:
        manager.display = former
    unparsed.raise_when_serious()
    loader.set_basedir(str(playbooks))
    inventory.get_groups_dict()  # kept by Ansible; made here, once for all runs
    return Held(
        source=source, loader=loader, inventory=inventory, warnings=unparsed.warnings, needs_extra_vars=extra_vars.used
    )


class _ExtraVars(dict[str, Any]):
    """Stands for the extra variables of the runs to come while the inventory is read, and notes who mixes them in."""

    used = False

    def __bool__(self) -> bool:
        return True  # or Ansible would look for others

    def __ror__(self, other: Any) -> Any:
        self.used = True
        return other | dict(self)


class Resolver:
    """Says of hosts what a run would see."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._manager = held.variable_manager()
        HostVars(held.inventory, self._manager, held.loader)  # which makes itself known to the manager

    def raw(self, host: AnsibleHost) -> dict[str, Any]:
        """Return all variables of a host, groups' included, before templates are resolved."""
        found: dict[str, Any] = self._manager.get_vars(host=host)
        return found

    def of_group(self, group: Group) -> dict[str, Any]:
        """Return the variables that a group itself has, files beside the inventory and the playbooks included."""
        held = self._held
        return {
            **group.get_vars(),
            **get_vars_from_inventory_sources(held.loader, held.inventory._sources, [group], "task"),
            **get_vars_from_path(held.loader, held.loader.get_basedir(), [group], "task"),
        }

    def of_member(self, group: Group) -> dict[str, Any]:
        """Return the variables of a host that is in this group and in no other one, and has none of its own."""
        # Ansible looks for files of variables by the name of a host, except when it looks like a path.
        member = AnsibleHost(f"/{group.name}")
        member.add_group(group)
        variables = self.raw(member)
        return {name: value for name, value in variables.items() if not name.startswith("inventory_hostname")}

    def resolving(self, raw: dict[str, Any]) -> Callable[[str], Any]:
        """Return a function that says one of `raw` without templates and Ansible's own types; raises AnsibleError."""
        engine = TemplateEngine(loader=self._held.loader, variables=raw)
        return lambda name: plain(engine.template(raw[name]) if _may_be_template(raw[name]) else raw[name])


def _may_be_template(value: Any) -> bool:
    return isinstance(value, EncryptedString | Mapping | list) or (isinstance(value, str) and "{" in value)


def plain(value: Any) -> Any:
    """Return a value in Python's own types; what was encrypted as `Hidden`. Raises AnsibleError."""
    match value:
        case EncryptedString():
            return Hidden(str(value))
        case str() if VaultedValue.is_tagged_on(value):
            return Hidden(str(value))
        case str():
            return str(value)
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case bool() | None:
            return value
        case int():
            return int(value)
        case float():
            return float(value)
    return str(value)


def limit(host: str) -> str:
    """Return the pattern for `--limit` that means this host alone."""
    # A name with one of these in front would exclude or intersect.
    return rf"~{re.escape(host)}\Z" if host.startswith(("!", "&")) else host


def fits_on_command_line(pattern: str) -> bool:
    """Whether Ansible takes a pattern for one when it is an argument; otherwise it has to come in a file."""
    return not pattern.startswith("@") and manager.split_host_pattern(pattern) == [pattern]


def encrypted(value: Any) -> Iterator[EncryptedString]:
    """Return everything in a value that is encrypted by itself."""
    match value:
        case EncryptedString():
            yield value
        case dict():
            for inner in value.values():
                yield from encrypted(inner)
        case list():
            for inner in value:
                yield from encrypted(inner)


def vault_id(value: EncryptedString) -> str:
    """Return the first line of what is encrypted, which tells by which password it is opened."""
    return (VaultHelper.get_ciphertext(value, with_tags=False) or "").partition("\n")[0]


def reason(error: Exception) -> str:
    """Return the message of an error of Ansible, and the place that it is about."""
    if isinstance(error, InventoryUnreadable):
        return str(error.details["reason"])
    origin = next(filter(None, map(_origin, _causes(error))), None)
    place = f"{origin}: " if origin is not None and origin.path else ""
    return f"{place}{explained(str(error).strip().removesuffix('.'))}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Return an error and those behind it: Ansible raises some anew without the place."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _origin(error: BaseException) -> Origin | None:
    about = getattr(error, "obj", None)
    return about if isinstance(about, Origin) else Origin.get_tag(about)


def _forget_options() -> None:
    """Ansible keeps the options and extra variables that it has seen first in attributes of these functions."""
    vars(load_extra_vars).pop("extra_vars", None)
    vars(load_options_vars).pop("options_vars", None)
