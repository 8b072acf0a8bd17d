"""The way from a route to a role in CONTRIBUTING.md: each named function, class and constant is in the named module."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
STEPS = sorted(set(re.findall(r"`(\w+)`\s+in\s+\[([^\]]+\.py)\]", CONTRIBUTING)))


def names(module: ast.Module) -> set[str]:
    """Return the names of a module's functions, classes and assigned variables."""
    defined: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.add(node.target.id)
    return defined


def test_the_way_has_its_steps() -> None:
    assert len(STEPS) > 10


@pytest.mark.parametrize(("name", "path"), STEPS)
def test_each_step_names_a_definition_of_its_module(name: str, path: str) -> None:
    assert name in names(ast.parse((ROOT / path).read_text(encoding="utf-8")))
