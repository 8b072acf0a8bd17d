"""Makes the mutations of one module: mutmut's operators, a removed statement and a negated condition.

mutmut itself mutates only undecorated functions. Here constants, regular expressions, fields and properties are
mutated too: a limit on hostile output is a constant.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, takewhile

import libcst as cst
import libcst.matchers as m
from libcst.metadata import ByteSpanPositionProvider, CodeSpan, MetadataWrapper
from mutmut.mutation.mutators import mutation_operators, operator_arg_removal, operator_number, operator_string

SMALL = 10
PASS = cst.Pass()
# They have fewer variants here. A text has one. A large number is doubled, because no behavior depends on the last
# character of a limit. A call loses an argument; mypy finds a None in its place.
REPLACED = (operator_string, operator_number, operator_arg_removal)
STATEMENTS = cst.Expr | cst.Raise | cst.Return | cst.Del
# Their mutation changes nothing that runs, or what a type checker finds.
ALIASES = m.Assign(
    [m.AssignTarget(m.Name(m.MatchRegex("_?[A-Z][a-z].*")))], m.Subscript() | m.BinaryOperation(operator=m.BitOr())
)
EXPORTS = m.Assign([m.AssignTarget(m.Name("__all__"))]) | m.AugAssign(m.Name("__all__"))
UNTOUCHED = ALIASES | EXPORTS | m.Annotation() | m.Decorator() | m.Import() | m.ImportFrom() | m.TypeAlias()
DOCUMENTATION = m.SimpleStatementLine([m.Expr(m.SimpleString() | m.ConcatenatedString())])
TYPE_CALLS = m.Call(m.OneOf(*(m.Name(name) for name in ("TypeVar", "cast", "TypedDict", "NewType"))))


@dataclass(frozen=True)
class Mutation:
    """One changed module, with the first and the last of its lines that differ."""

    line: int
    last: int
    before: str
    after: str
    code: str


def mutations(source: str) -> list[Mutation]:
    """Return every mutation of a module that compiles, in the order of lines."""
    return [mutation for mutation in uncompiled(source) if _compiles(mutation.code)]


def uncompiled(source: str) -> list[Mutation]:
    """Return every mutation of a module, in the order of lines; to compile each takes most of the time."""
    wrapper = MetadataWrapper(cst.parse_module(source))
    nodes = _Nodes()
    wrapper.visit(nodes)
    made: dict[str, Mutation] = {}
    for node, span in nodes.found:
        negated = [_negated(node)] if node in nodes.conditions and isinstance(node, cst.BaseExpression) else []
        for changed in chain(negated, _variants(node)):
            code = _replaced(wrapper.module, source, node, span, changed)
            if code != source and code not in made:
                made[code] = described(source, code)
    return sorted(made.values(), key=lambda mutation: mutation.line)


def _replaced(module: cst.Module, source: str, node: cst.CSTNode, span: CodeSpan, changed: cst.CSTNode) -> str:
    """Return the module with another node; only a compound statement needs its indentation, and that is slow."""
    if isinstance(node, cst.BaseCompoundStatement):
        tree = module.deep_replace(node, changed)
        assert isinstance(tree, cst.Module)
        return tree.code
    code = source.encode()
    end = span.start + span.length
    return (code[: span.start] + module.code_for_node(changed).encode() + code[end:]).decode()


class _Nodes(cst.CSTVisitor):
    """Collects the nodes of a module that may be mutated."""

    METADATA_DEPENDENCIES = (ByteSpanPositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, CodeSpan]] = []
        self.conditions: set[cst.CSTNode] = set()

    def on_visit(self, node: cst.CSTNode) -> bool:
        if m.matches(node, UNTOUCHED | DOCUMENTATION | TYPE_CALLS):
            return False
        if isinstance(node, cst.If | cst.While | cst.CompIf) and not isinstance(node.test, cst.UnaryOperation):
            self.conditions.add(node.test)
        span = self.get_metadata(ByteSpanPositionProvider, node, None)
        if isinstance(span, CodeSpan):
            self.found.append((node, span))
        return True


def _variants(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for kind, operator in mutation_operators:
        if isinstance(node, kind) and operator not in REPLACED and not isinstance(node, cst.AnnAssign):
            yield from operator(node)
    if isinstance(node, cst.SimpleString):
        yield from list(operator_string(node))[:1]
    if isinstance(node, cst.Integer | cst.Float):
        value = node.evaluated_value
        yield node.with_changes(value=repr(value + 1 if value < SMALL else value * 2))
    if isinstance(node, cst.Call) and len(node.args) > 1:
        for index in range(len(node.args)):
            yield node.with_changes(args=[*node.args[:index], *node.args[index + 1 :]])
    if isinstance(node, STATEMENTS):
        yield PASS


def _negated(test: cst.BaseExpression) -> cst.UnaryOperation:
    return cst.UnaryOperation(cst.Not(), test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()]))


def _compiles(code: str) -> bool:
    try:
        compile(code, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def described(source: str, code: str) -> Mutation:
    """Return the change from one source to another."""
    old, new = source.splitlines(), code.splitlines()
    start = _common(old, new)
    same = min(_common(old[::-1], new[::-1]), min(len(old), len(new)) - start)
    return Mutation(
        start + 1,
        max(start + 1, len(old) - same),
        _text(old[start : len(old) - same]),
        _text(new[start : len(new) - same]),
        code,
    )


def _common(old: list[str], new: list[str]) -> int:
    return len(list(takewhile(lambda lines: lines[0] == lines[1], zip(old, new, strict=False))))


def _text(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)
