"""Inventories for tests, read as the service reads them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from service.inventory import reader
from service.inventory.reader import Inventory


class Unsafe(str):
    """Text that Ansible must not take for a template: `!unsafe` in YAML."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes `Unsafe`."""


_Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def write(path: Path, tree: dict[str, Any]) -> None:
    """Write a YAML inventory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.dump(tree, Dumper=_Dumper, sort_keys=False), encoding="utf-8")


def read_now(source: Path) -> Inventory:
    """Read an inventory, whether or not an event loop runs in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(reader.read(source))).result()
