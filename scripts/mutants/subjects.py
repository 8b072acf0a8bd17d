"""Changes a module, or a named query, in a process that has imported it, and records which tests use which part."""

import ast
import gc
import importlib.abc
import importlib.machinery
import inspect
import sys
import types
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from scripts.mutants.mutations import Mutation

Place = int | str
Finders = Sequence[importlib.abc.MetaPathFinder]
TOOL = sys.monitoring.OPTIMIZER_ID - 1  # one that neither coverage, nor a debugger, nor a profiler uses


class Applied(Enum):
    """Part of a mutation that a process has which imported the subject before."""

    NOTHING = auto()
    PARTS = auto()  # what was computed from it at the import is not changed
    ALL = auto()


class Subject(Protocol):
    """One thing that mutations change: a module or the queries."""

    def prepared(self) -> AbstractContextManager[Finders]:
        """Prepare this process for a test session; yield the finders that import the subject."""

    def collected(self) -> None:
        """Note that all tests are collected."""

    def used(self) -> set[Place]:
        """Return the places (lines, queries) that have run since the last call."""

    def places(self, mutation: Mutation) -> tuple[set[Place], set[Place]] | None:
        """Return the changed places and those around them; None if any test may notice the change."""

    def apply(self, mutation: Mutation) -> Applied:
        """Change this process, if that is possible without another import."""


class Imported(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from code that may be changed, under each of its names."""

    def __init__(self, names: Collection[str], file: Path, code: types.CodeType) -> None:
        self.names = names
        self.file = file
        self.code = code

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a specification with this loader for the module."""
        if fullname not in self.names:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=str(self.file))
        spec.has_location = True
        return spec

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the code as the module."""
        exec(self.code, module.__dict__)  # noqa: S102 - the purpose of this program


class ModuleSubject:
    """A module: a mutation of a function's body gives the existing function another code object."""

    def __init__(self, names: Collection[str], file: Path) -> None:
        self.names = names
        self.file = file
        self.code = _compiled(file.read_text(encoding="utf-8"), file)
        self._used: set[Place] = set()
        self._at_import: set[Place] = set()
        self._functions: list[types.FunctionType] = []

    @contextmanager
    def prepared(self) -> Iterator[Finders]:
        """Yield a finder that imports the module, with its lines recorded."""
        sys.monitoring.use_tool_id(TOOL, "mutants")
        sys.monitoring.register_callback(TOOL, sys.monitoring.events.LINE, self._record)
        for code in _nested(self.code):
            sys.monitoring.set_local_events(TOOL, code, sys.monitoring.events.LINE)
        yield [Imported(self.names, self.file, self.code)]

    def _record(self, _: types.CodeType, line: int) -> object:
        self._used.add(line)
        return sys.monitoring.DISABLE

    def collected(self) -> None:
        """Note the functions, and the lines that have run at the import."""
        codes = set(map(id, _nested(self.code)))
        functions = (found for found in gc.get_objects() if isinstance(found, types.FunctionType))
        self._functions = [function for function in functions if id(function.__code__) in codes]
        self._at_import = self.used()

    def used(self) -> set[Place]:
        """Return the lines that have run since the last call."""
        found, self._used = self._used, set()
        sys.monitoring.restart_events()
        return found

    def places(self, mutation: Mutation) -> tuple[set[Place], set[Place]] | None:
        """Return the changed lines and the lines of the functions around them; None outside functions."""
        changed: set[Place] = set(range(mutation.line, mutation.last + 1))
        around = [lines for code in _nested(self.code) if _is_function(code) and (lines := _lines(code)) & changed]
        return (changed, set[Place]().union(*around)) if around else None

    def apply(self, mutation: Mutation) -> Applied:
        """Give the changed functions their new code, or the changed constant its new value."""
        pairs = _changed_functions(self.code, _compiled(mutation.code, self.file))
        if pairs is None:
            return self._assign(mutation)
        if any(_lines(old) & self._at_import for old, new in pairs if _differ(old, new)):
            return Applied.NOTHING
        for old, new in pairs:
            for function in self._functions:
                if function.__code__ is old:
                    function.__code__ = new
        return Applied.ALL

    def _assign(self, mutation: Mutation) -> Applied:
        """Run the changed assignment of a module in the modules that have its name."""
        statement = _changed_assignment(self.file.read_text(encoding="utf-8"), mutation.code)
        if not statement:
            return Applied.NOTHING
        code = compile(ast.Module([statement], []), str(self.file), "exec")
        for module in [sys.modules[name] for name in self.names if name in sys.modules]:
            before = dict(vars(module))
            exec(code, vars(module))  # noqa: S102 - the purpose of this program
            for name in before:
                if vars(module)[name] is not before[name]:
                    _rebind(name, before[name], vars(module)[name])
        return Applied.PARTS

    def mutated(self, mutation: Mutation) -> Imported:
        """Return a finder that imports the mutated module."""
        return Imported(self.names, self.file, _compiled(mutation.code, self.file))


def _compiled(source: str, file: Path) -> types.CodeType:
    return compile(source, str(file), "exec", dont_inherit=True)


def _changed_assignment(old: str, new: str) -> ast.stmt | None:
    """Return the only statement of a module that differs, if it is an assignment."""
    before, after = ast.parse(old).body, ast.parse(new).body
    changed = [(one, two) for one, two in zip(before, after, strict=False) if ast.dump(one) != ast.dump(two)]
    if len(before) != len(after) or len(changed) != 1:
        return None
    statement, assignment = changed[0]
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or type(statement) is not type(assignment):
        return None
    return assignment


def _rebind(name: str, old: object, new: object) -> None:
    """Give a name its new value in all modules that have imported it."""
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get(name) is old:
            setattr(module, name, new)


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in _inner(code):
        yield from _nested(constant)


def _inner(code: types.CodeType) -> list[types.CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


def _lines(code: types.CodeType) -> set[Place]:
    """Return the lines of a function with those of the functions in it, without the line of its `def`."""
    lines = {line for inner in _nested(code) for _, _, line in inner.co_lines() if line}
    return set[Place](lines - {code.co_firstlineno})


def _is_function(code: types.CodeType) -> bool:
    """Return whether this is the code of a function, and not of a module, a class or a list of type parameters."""
    return bool(code.co_flags & inspect.CO_OPTIMIZED) and not code.co_name.startswith("<generic parameters")


def _changed_functions(old: types.CodeType, new: types.CodeType) -> list[tuple[types.CodeType, types.CodeType]] | None:
    """Return the functions that differ, before and after; None if there is a difference outside functions."""
    if _is_function(old):
        return [] if old == new else [(old, new)] if old.co_freevars == new.co_freevars else None
    if _shape(old) != _shape(new):
        return None
    found: list[tuple[types.CodeType, types.CodeType]] = []
    for before, after in zip(_inner(old), _inner(new), strict=True):
        pairs = _changed_functions(before, after)
        if pairs is None:
            return None
        found += pairs
    return found


def _shape(code: types.CodeType) -> tuple[object, ...]:
    """Return what a module or a class does itself."""
    constants = [
        constant if not isinstance(constant, types.CodeType) else constant.co_name for constant in code.co_consts
    ]
    return code.co_code, code.co_names, [(type(constant), constant) for constant in constants]


def _differ(old: types.CodeType, new: types.CodeType) -> bool:
    """Return whether two functions differ in more than the numbers of their lines."""
    return _shape(old) != _shape(new) or any(map(_differ, _inner(old), _inner(new)))
