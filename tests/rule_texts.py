"""Reads the texts of all rules and fixes from the roles and plugins; a value in a text is shown as `{}`."""

import ast
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from jinja2 import Environment, nodes

from service.model.settings import PROJECT
from tests.yaml_files import load

VALUE = "{}"
_JINJA = Environment()  # noqa: S701 - texts of YAML files, not HTML
_RAISED = ("FailedRule", "Unreachable")


def rule_texts() -> set[str]:
    """Return every text of the parts Rule and Fix that roles and plugins can report."""
    return {*_role_texts(), *_plugin_texts()} - {VALUE}


def _role_texts() -> Iterator[str]:
    for path in sorted((PROJECT / "roles").glob("*/*/*.yml")):
        if path.parent.name in ("rules", "tasks"):
            for item in load(path) or ():
                yield from _item_texts(item)


def _item_texts(item: dict[str, Any]) -> Iterator[str]:
    """Yield the texts of a rule or of an Ansible task: of its rules or steps, and of the rule that is its argument."""
    variables = item.get("vars", {})
    arguments = [value for value in item.values() if isinstance(value, dict)]
    for step in (step for each in arguments for step in each.get("steps", ())):
        yield from _item_texts({"vars": variables, **step})
    rules = [item, *arguments, *(rule for each in arguments for rule in each.get("rules", ()))]
    for rule in rules:
        for text in (rule[part] for part in ("rule", "fix") if isinstance(rule.get(part), str)):
            yield from _rendered(text, variables)


def _rendered(template: str, variables: dict[str, Any]) -> list[str]:
    """Return the possible texts of a template, in one line each."""
    parts = [node for output in _JINJA.parse(template).body for node in output.iter_child_nodes()]
    return [" ".join(text.split()) for text in _joined(_of_node(part, variables) for part in parts)]


def _of_node(node: nodes.Node, variables: dict[str, Any]) -> list[str]:
    match node:
        case nodes.TemplateData():
            return [node.data]
        case nodes.Const(value=str(text)):
            return [text]
        case nodes.CondExpr(expr2=nodes.Node() as other):
            return [*_of_node(node.expr1, variables), *_of_node(other, variables)]
        case nodes.Concat():
            return _joined(_of_node(each, variables) for each in node.nodes)
        case nodes.Name(name="fix"):
            return _rendered(variables["fix"], {})
    return [VALUE]


def _plugin_texts() -> Iterator[str]:
    for path in sorted((PROJECT / "plugins").glob("*/*.py")):
        yield from _PluginModule(path).texts()


class _PluginModule:
    """The rules of one module, with the strings that its names stand for."""

    def __init__(self, path: Path) -> None:
        self._tree = ast.parse(path.read_text(encoding="utf-8"))
        self._names: dict[str, ast.expr] = {
            node.targets[0].id: node.value
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }

    def texts(self) -> Iterator[str]:
        for node in ast.walk(self._tree):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[rule, _, fix]) if name in _RAISED:
                    yield from (*self._of(rule), *self._of(fix))
                case ast.Call(func=ast.Attribute(attr="converge"), args=[rule, *_]):
                    yield from self._of(rule)

    def _of(self, node: ast.expr) -> list[str]:
        """Return the texts that an expression can have."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr():
                return _joined(self._of(part) for part in node.values)
            case ast.FormattedValue(value=ast.Name() as name):
                return self._of(name)
            case ast.BinOp(op=ast.Add()):
                return _joined([self._of(node.left), self._of(node.right)])
            case ast.IfExp():
                return [*self._of(node.body), *self._of(node.orelse)]
            case ast.BoolOp():
                return [text for value in node.values for text in self._of(value)]
            case ast.Name(id=name) if name in self._names:
                return self._of(self._names[name])
            case ast.Call():
                return self._of_call(node)
        return [VALUE]

    def _of_call(self, node: ast.Call) -> list[str]:
        match node:
            case ast.Call(func=ast.Name(id="fix_for_root"), args=[_, usual, _]):
                return self._of(usual)
            case ast.Call(func=ast.Name(id="next"), args=[_, default]):
                return [*self._of(default), *self._of_table()]
            case ast.Call(func=ast.Attribute(attr="format", value=text)):
                return [found.replace("{user}", VALUE) for found in self._of(text)]
        return [VALUE]

    def _of_table(self) -> list[str]:
        """Return the fixes of a table of patterns with their fixes."""
        rows = [row for node in self._names.values() if isinstance(node, ast.Tuple) for row in node.elts]
        return [text for row in rows if isinstance(row, ast.Tuple) for text in self._of(row.elts[1])]


def _joined(parts: Iterable[list[str]]) -> list[str]:
    return ["".join(texts) for texts in product(*parts)]
