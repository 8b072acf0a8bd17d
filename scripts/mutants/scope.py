"""Modules that mutation tests change, with their closest tests and equivalent mutations (`modules.yml`)."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from scripts.mutants.mutations import Mutation, mutations
from scripts.mutants.sql import Queries, variants
from scripts.mutants.subjects import ModuleSubject, Subject

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("modules.yml")
COLLECTION = "ansible_collections.obproxy.takeover."


@dataclass(frozen=True)
class Equivalent:
    """A mutation that changes no behavior, or none that a unit test can see, with the reason."""

    before: str
    after: str
    reason: str


@dataclass(frozen=True)
class Module:
    """One module, or file of queries, its tests, and the share of mutations that the tests must kill, in percent."""

    path: str
    names: tuple[str, ...]  # a link to a module is imported under a name of its own
    tests: tuple[Path, ...]
    least: float
    equivalent: tuple[Equivalent, ...]

    @property
    def file(self) -> Path:
        """File of the module."""
        return ROOT / self.path

    def subject(self) -> Subject:
        """Return the module, or the queries, as something that mutations change."""
        return Queries() if self.file.suffix == ".sql" else ModuleSubject(self.names, self.file)

    def mutations(self) -> list[Mutation]:
        """Return all mutations of the file."""
        if self.file.suffix == ".sql":
            return variants(self.file)
        return mutations(self.file.read_text(encoding="utf-8"))

    def explains(self, before: str, after: str) -> bool:
        """Return whether this change of a line is known to be equivalent."""
        return any((entry.before, entry.after) == (before, after) for entry in self.equivalent)


def configuration() -> dict[str, Any]:
    """Return the content of `modules.yml`."""
    return dict(yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8")))


def modules(chosen: Sequence[str] = ()) -> list[Module]:
    """Return all modules, or those that are chosen by path, folder or name."""
    known = configuration()
    paths = sorted(
        {str(file.relative_to(ROOT)) for pattern in known["scope"] for file in ROOT.glob(pattern)}
        - {str(file.relative_to(ROOT)) for pattern in known["left_out"] for file in ROOT.glob(pattern)}
    )
    made = [_module(path, known) for path in paths]
    if not chosen:
        return made
    named = [module for module in made if any(_matches(module, choice) for choice in chosen)]
    if not named:
        raise SystemExit(f"No module of {CONFIGURATION.relative_to(ROOT)} is named {' or '.join(chosen)}.")
    return named


def _matches(module: Module, choice: str) -> bool:
    return (
        module.path == choice
        or module.path.startswith(choice.rstrip("/") + "/")
        or any(name.endswith(choice) for name in module.names)
    )


def _module(path: str, known: dict[str, Any]) -> Module:
    names = (_name(path), *(_name(link) for link in known.get("links", {}).get(path, ())))
    more = known["modules"].get(path, {})
    tests = {ROOT / "tests" / f"{test}.py" for test in more.get("tests", ())}
    if not more.get("only"):
        tests |= {file for file, imported in _imports().items() if imported.intersection(names)}
    equivalent = tuple(Equivalent(**entry) for entry in more.get("equivalent", ()))
    return Module(path, names, tuple(sorted(tests)), more.get("least", known["least"]), equivalent)


def _name(path: str) -> str:
    dotted = path.removesuffix(".py").replace("/", ".")
    return COLLECTION + dotted if dotted.startswith("plugins.") else dotted


@cache
def _imports() -> dict[Path, frozenset[str]]:
    """Return the names that each unit test imports, of modules and of what is in them."""
    return {file: frozenset(_imported(file)) for file in (ROOT / "tests/unit").glob("test_*.py")}


def _imported(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found
