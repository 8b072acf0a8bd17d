"""Loads the inventory as Ansible's own objects, which every run forked from this process uses.

This module imports Ansible, so only forks of the fork server import it.
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
from ansible.parsing.vault import EncryptedString, VaultHelper
from ansible.plugins.loader import add_all_plugin_dirs
from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.utils.vars import load_extra_vars, load_options_vars
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible.vars.plugins import get_vars_from_inventory_sources, get_vars_from_path

from service.inventory.parse_errors import ParseErrors
from service.inventory.parsed_files import ParsingLoader
from service.model.errors import InventoryUnreadable
from service.outcome.ansible_results import expanded
from service.outcome.masking import Hidden


@dataclass(kw_only=True)
class LoadedInventory:
    """Ansible's objects for one inventory."""

    source: Path
    loader: ParsingLoader
    inventory: manager.InventoryManager
    warnings: list[str] = field(default_factory=list)
    needs_extra_vars: bool = False  # an inventory plugin uses the extra variables of a run (use_extra_vars)
    clusters: tuple[str, ...] = ()  # names of the groups that are OBProxy clusters

    def play_prereqs(self) -> tuple[ParsingLoader, manager.InventoryManager, VariableManager]:
        """Replace `CLI._play_prereqs` in a run, so that Ansible does not read the inventory again."""
        cli._agent_launch.launch_ssh_agent()
        return self.loader, self.inventory, self.variable_manager()

    def variable_manager(self) -> VariableManager:
        """Return a new variable manager with the command line options of the current program."""
        _clear_cached_options()
        return VariableManager(
            loader=self.loader, inventory=self.inventory, version_info=cli.CLI.version_info(gitinfo=False)
        )

    def add_source(self, path: Path) -> None:
        """Read one more source, as Ansible does with several `-i`; raises AnsibleError."""
        if not self.inventory.parse_source(str(path)):
            raise AnsibleError(f"{path} cannot be read")
        self.inventory._sources.append(str(path))
        self.inventory.reconcile_inventory()


def read(source: Path, playbooks: Path) -> LoadedInventory:
    """Load the inventory as `ansible-playbook -i source` does for a playbook in the directory `playbooks`.

    Raises InventoryUnreadable and AnsibleError.
    """
    loader = ParsingLoader()
    secrets = cli.CLI.setup_vault_secrets(loader, list(constants.DEFAULT_VAULT_IDENTITY_LIST), auto_prompt=False)
    loader.set_vault_secrets(secrets)
    add_all_plugin_dirs(os.fsencode(playbooks))
    AnsibleCollectionConfig.playbook_paths = [os.fsencode(playbooks)]
    parse_errors = ParseErrors(manager.display, source)
    former, manager.display = manager.display, parse_errors
    extra_vars = _ExtraVars()
    try:
        _clear_cached_options()
        vars(load_extra_vars)["extra_vars"] = extra_vars
        inventory = manager.InventoryManager(loader=loader, sources=[str(source)])
    finally:
        manager.display = former
    parse_errors.raise_if_fatal()
    loader.set_basedir(str(playbooks))
    inventory.get_groups_dict()  # fills Ansible's cache once for all runs
    return LoadedInventory(
        source=source,
        loader=loader,
        inventory=inventory,
        warnings=parse_errors.warnings,
        needs_extra_vars=extra_vars.used,
    )


class _ExtraVars(dict[str, Any]):
    """Stands in for the extra variables of future runs while the inventory is read; records their use by a plugin."""

    used = False

    def __bool__(self) -> bool:
        return True  # otherwise Ansible would load extra variables from its options

    def __ror__(self, other: Any) -> Any:
        self.used = True
        return other | dict(self)


class VariableResolver:
    """Resolves variables of hosts and groups as a run does."""

    def __init__(self, loaded: LoadedInventory) -> None:
        self._loaded = loaded
        self._manager = loaded.variable_manager()
        HostVars(loaded.inventory, self._manager, loaded.loader)  # registers itself with the variable manager

    def raw(self, host: AnsibleHost) -> dict[str, Any]:
        """Return all variables of a host, those of its groups included, not templated."""
        found: dict[str, Any] = self._manager.get_vars(host=host)
        return found

    def of_group(self, group: Group) -> dict[str, Any]:
        """Return the variables of a group itself, group_vars beside the inventory and the playbooks included."""
        loaded = self._loaded
        return {
            **group.get_vars(),
            **get_vars_from_inventory_sources(loaded.loader, loaded.inventory._sources, [group], "task"),
            **get_vars_from_path(loaded.loader, loaded.loader.get_basedir(), [group], "task"),
        }

    def of_member(self, group: Group) -> dict[str, Any]:
        """Return the variables of a host without own variables that is only in this group."""
        # The name looks like a path, so that Ansible does not search host_vars for it.
        member = AnsibleHost(f"/{group.name}")
        member.add_group(group)
        variables = self.raw(member)
        return {name: value for name, value in variables.items() if not name.startswith("inventory_hostname")}

    def templated(self, raw: dict[str, Any]) -> Callable[[str], Any]:
        """Return a function that templates one variable of `raw`, given its name; it raises AnsibleError."""
        engine = TemplateEngine(loader=self._loaded.loader, variables=raw)
        return lambda name: plain(engine.template(raw[name]) if _may_be_template(raw[name]) else raw[name])


def _may_be_template(value: Any) -> bool:
    return isinstance(value, EncryptedString | Mapping | list) or (isinstance(value, str) and "{" in value)


def plain(value: Any) -> Any:
    """Return a value in built-in types, and decrypted text as `Hidden`; raises AnsibleError when decryption fails."""
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


def limit_pattern(host: str) -> str:
    """Return the pattern for `--limit` that matches only this host."""
    # Ansible takes these prefixes for exclusion and intersection.
    return rf"~{re.escape(host)}\Z" if host.startswith(("!", "&")) else host


def fits_on_command_line(pattern: str) -> bool:
    """Return whether Ansible takes the argument for one pattern; otherwise it must be passed in a file (`@path`)."""
    return not pattern.startswith("@") and manager.split_host_pattern(pattern) == [pattern]


def encrypted_strings(value: Any) -> Iterator[EncryptedString]:
    """Yield every `!vault` string in a value."""
    match value:
        case EncryptedString():
            yield value
        case dict():
            for inner in value.values():
                yield from encrypted_strings(inner)
        case list():
            for inner in value:
                yield from encrypted_strings(inner)


def vault_header(value: EncryptedString) -> str:
    """Return the header line of a vault string, which contains the vault id."""
    return (VaultHelper.get_ciphertext(value, with_tags=False) or "").partition("\n")[0]


def error_message(error: Exception) -> str:
    """Return the message of an Ansible error, with the file and line it refers to."""
    if isinstance(error, InventoryUnreadable):
        return str(error.details["reason"])
    origin = next(filter(None, map(_origin, _causes(error))), None)
    place = f"{origin}: " if origin is not None and origin.path else ""
    return f"{place}{expanded(str(error).strip().removesuffix('.'))}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes: Ansible re-raises some errors without their origin."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _origin(error: BaseException) -> Origin | None:
    source = getattr(error, "obj", None)
    return source if isinstance(source, Origin) else Origin.get_tag(source)


def _clear_cached_options() -> None:
    """Clear options and extra variables, which Ansible caches in attributes of these functions."""
    vars(load_extra_vars).pop("extra_vars", None)
    vars(load_options_vars).pop("options_vars", None)
