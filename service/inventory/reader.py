"""Hosts and OBProxy clusters, from the Ansible inventory, read with Ansible's own tooling so that any plugin works.

A host that may be taken over carries `ocp_host_id`; a group that carries `obproxy_cluster_id` is an OBProxy cluster.
"""

import asyncio
import itertools
import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from service.model.errors import InventoryUnreadable
from service.model.settings import PROJECT
from service.model.tasks import ALLOW_RESTART
from service.outcome.masking import Hidden

log = logging.getLogger(__name__)

MAX_AGE = 60.0  # seconds after which an unchanged inventory is read again: a plugin's source is not a file
READ_TIMEOUT = 120.0  # seconds one reading may take
VAULT_HINT = "set TAKEOVER_VAULT_PASSWORD_FILE to the file, or the program, with the password of Ansible Vault"

Variables = Mapping[str, Any]


class Unsafe(str):
    """Text that is data: what looks like a template in it is none. An inventory says so, or a plugin that reads one."""

    __slots__ = ()


_TRUE = {"y", "yes", "on", "1", "true", "t", "1.0"}  # as ansible.module_utils.parsing.convert_bool


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host that may be taken over. `variables` are all that Ansible knows of it, groups' included."""

    id: int
    name: str
    variables: Variables = field(repr=False)

    @property
    def address(self) -> str:
        """Where it is reached."""
        return str(self.variables.get("ansible_host", self.name))

    @property
    def idc_name(self) -> str | None:
        """The data centre it stands in, if the inventory says so."""
        name = self.variables.get("ocp_idc_name")
        return None if name is None else str(name)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """An OBProxy cluster. `variables` are its group's, with those of the groups above."""

    id: int
    name: str
    variables: Variables = field(repr=False)

    @property
    def allows_restart(self) -> bool:
        """Whether takeovers into it may restart an OBProxy; whatever Ansible takes for true."""
        return str(self.variables.get(ALLOW_RESTART, "")).lower() in _TRUE

    def as_asked(self, allow_restart: bool | None) -> "Cluster":
        """The cluster as a run is to have it whose request gives or withdraws consent; None = it says nothing."""
        if allow_restart is None:
            return self
        return replace(self, variables={**self.variables, ALLOW_RESTART: allow_restart})


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Everything by its OCP id."""

    hosts: Mapping[int, Host]
    clusters: Mapping[int, Cluster]


class InventoryReader:
    """Keeps the last good reading of one inventory, and reads again when its files change."""

    def __init__(self, source: Path, vault_password_file: Path | None = None) -> None:
        self.source = source
        self._vault_password_file = vault_password_file
        self.problem: str | None = None
        self._good: Inventory | None = None
        self._signature: object = None
        self._read_at = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def current(self) -> Inventory:
        """The inventory as it is now, or as it last was when it cannot be read; raises InventoryUnreadable if never."""
        async with self._lock:
            signature = await asyncio.to_thread(_signature, self.source, self._vault_password_file)
            if signature != self._signature:
                await self._read()
                self._signature = signature
            elif time.monotonic() - self._read_at > MAX_AGE and (self._reading is None or self._reading.done()):
                # Nobody waits for this one: what a plugin reads has probably not changed either.
                self._reading = asyncio.create_task(self._read(), name="inventory")
        if self._good is None:
            raise InventoryUnreadable(reason=self.problem)
        return self._good

    async def _read(self) -> None:
        self._read_at = time.monotonic()
        try:
            self._good = await read(self.source, self._vault_password_file)
            self.problem = None
        except InventoryUnreadable as error:
            self.problem = str(error.details["reason"])
            log.error("%s; using the last good one", error, extra={"action": "inventory_unreadable"})


async def read(source: Path, vault_password_file: Path | None = None) -> Inventory:
    """Read the inventory at `source`; raises InventoryUnreadable with Ansible's own words (file and line).

    Values that are encrypted by themselves come out as `Hidden`, those that Ansible must not template as `Unsafe`.
    """
    opened: dict[str, str] = {}
    listing = ("-i", str(source.absolute()), "--list")
    program = str(Path(sys.executable).with_name("ansible-inventory"))
    hosts, groups = [
        json.loads(await _say(source, vault_password_file, program, *listing, *options))
        for options in ((), ("--export",))
    ]
    if ciphertexts := sorted({*_vaulted(hosts), *_vaulted(groups)}):
        opener = (sys.executable, "-P", str(Path(__file__).with_name("vault.py")))
        said = await _say(source, vault_password_file, *opener, given=json.dumps(ciphertexts).encode())
        opened = dict(zip(ciphertexts, json.loads(said), strict=True))
    hosts, groups = _plain(hosts, opened), _plain(groups, opened)
    return parse(hosts["_meta"]["hostvars"], groups)


def _vaulted(value: object) -> Iterator[str]:
    """Every ciphertext in what ansible-inventory has printed."""
    match value:
        case {"__ansible_vault": str(ciphertext)}:
            yield ciphertext
        case dict():
            yield from itertools.chain.from_iterable(map(_vaulted, value.values()))
        case list():
            yield from itertools.chain.from_iterable(map(_vaulted, value))


def _plain(value: Any, opened: Mapping[str, str]) -> Any:
    """The same without the wrappers in which ansible-inventory prints what is encrypted, or no template."""
    match value:
        case {"__ansible_vault": str(ciphertext)}:
            return Hidden(opened[ciphertext])
        case {"__ansible_unsafe": str(text)}:
            return Unsafe(text)
        case dict():
            return {key: _plain(inner, opened) for key, inner in value.items()}
        case list():
            return [_plain(inner, opened) for inner in value]
    return value


def parse(hostvars: Mapping[str, Variables], groups: Mapping[str, Any]) -> Inventory:
    """Make an Inventory of what `ansible-inventory --list` and `--list --export` print; raises InventoryUnreadable."""
    hosts = [
        Host(id=_id(variables["ocp_host_id"], f"ocp_host_id of host {name}"), name=name, variables=variables)
        for name, variables in hostvars.items()
        if "ocp_host_id" in variables
    ]
    clusters = [_cluster(name, groups) for name in groups if "obproxy_cluster_id" in _own(name, groups)]
    return Inventory(hosts=_by_id(hosts, "ocp_host_id"), clusters=_by_id(clusters, "obproxy_cluster_id"))


def _cluster(group: str, groups: Mapping[str, Any]) -> Cluster:
    variables = _inherited(group, groups)
    identifier = _id(variables["obproxy_cluster_id"], f"obproxy_cluster_id of group {group}")
    name = str(variables.get("obproxy_cluster_name", group))
    return Cluster(id=identifier, name=name, variables={**variables, "obproxy_cluster_name": name})


def _inherited(group: str, groups: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a group over those of the groups above it, as Ansible merges them for its hosts."""
    above = sorted(name for name, content in groups.items() if group in content.get("children", ()))
    merged: dict[str, Any] = {}
    for parent in above:
        merged |= _inherited(parent, groups)
    return merged | _own(group, groups)


def _own(group: str, groups: Mapping[str, Any]) -> dict[str, Any]:
    content = groups[group]
    return dict(content.get("vars", {})) if group != "_meta" else {}


def _by_id[Thing: (Host, Cluster)](things: list[Thing], variable: str) -> dict[int, Thing]:
    found: dict[int, Thing] = {}
    for thing in things:
        if thing.id in found:
            reason = f"{found[thing.id].name} and {thing.name} have the same {variable}: {thing.id}"
            raise InventoryUnreadable(reason=reason)
        found[thing.id] = thing
    return found


def _id(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InventoryUnreadable(reason=f"{what} must be a positive integer, found {value!r}")
    return value


async def _say(source: Path, vault_password_file: Path | None, *command: str, given: bytes = b"") -> bytes:
    """What one of Ansible's programs prints about the inventory at `source`; raises InventoryUnreadable."""
    environment = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "LC_ALL")},
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "true",
        **({"ANSIBLE_VAULT_PASSWORD_FILE": str(vault_password_file.absolute())} if vault_password_file else {}),
    }
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            output, errors = await process.communicate(given)
    except TimeoutError:
        process.kill()
        raise InventoryUnreadable(reason=f"{source}: reading took longer than {READ_TIMEOUT:.0f} s") from None
    if process.returncode:
        reason = first_reason(errors.decode(errors="replace"))
        hint = f"; {VAULT_HINT}" if "vault secrets" in reason and not vault_password_file else ""
        raise InventoryUnreadable(reason=f"{reason.removesuffix('.')}{hint}")
    return output


def first_reason(errors: str) -> str:
    """File, line and reason of the first thing Ansible could not read; it goes on to list every plugin it tried."""
    origin = re.search(r"^Origin: (/.*?:\d+:\d+)$", errors, re.MULTILINE)
    reason = re.search(r"^\[(?:WARNING|ERROR)\]: (.*)$", errors, re.MULTILINE)
    if not reason:
        return errors.strip()
    return f"{origin[1]}: {reason[1]}" if origin else reason[1]


def _signature(source: Path, vault_password_file: Path | None) -> list[tuple[str, int, int]]:
    """Name, time and size of every file of the inventory: what changes when somebody edits it."""
    files = [source, *(source.rglob("*") if source.is_dir() else []), *filter(None, [vault_password_file])]
    return sorted((str(file), stat.st_mtime_ns, stat.st_size) for file in files if (stat := _stat(file)))


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except OSError:
        return None
