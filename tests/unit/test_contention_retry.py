"""Each function that writes to the database repeats its transaction after a deadlock, or has a reason not to.

A function writes when a query that it names does, or when it hands its connection to something that writes or is not
known to read.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from service.store.database_errors import retry_contention
from service.store.sql import queries

SERVICE = Path(__file__).parents[2] / "service"
OPENERS = {"transaction", "autocommit", "_locked_task"}  # functions that give a connection, or what holds one
WRITE = re.compile(r"\b(INSERT|UPDATE|DELETE|LOCK|pg_\w*(lock|notify|message)\w*|procrastinate_\w+_v\d\w*)\b")
RUNNERS = {"execute", "fetch", "fetch_as", "fetch_unprepared"}  # of queries that stand beside them by name
NOT_REPEATED = {
    "access.users.ensure_admin": "inserts one row: it waits for another process and holds nothing that one waits for",
    "store.database.transaction": "gives the connection to all others",
    "store.readiness.find_problem": "writes no row",
    "tasks.operations._locked_task": "the operations that use it are repeated",
    "tasks.operations._resume": "the operations that use it are repeated",
    "tasks.recorder._write": "repeats itself, and waits for a lost database as well",
    "worker.health_checks.check_round": "its loop starts another round",
    "worker.leases.renew": "its loop renews again",
    "worker.worker.requeue_stalled_jobs": "its loop repeats it",
}


@dataclass(frozen=True)
class Function:
    """A function of the service and its use of the database."""

    name: str  # with its module
    opens: bool
    repeated: bool
    queries: set[str] = field(default_factory=set)
    helpers: set[str] = field(default_factory=set)  # last names of what it hands a connection to


def described(module: str, node: ast.AsyncFunctionDef) -> Function:
    opened = [item for part in ast.walk(node) if isinstance(part, ast.AsyncWith) for item in part.items if opens(item)]
    connections = {"connection"} | {
        item.optional_vars.id for item in opened if isinstance(item.optional_vars, ast.Name)
    }
    named = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return Function(
        name=f"{module}.{node.name}",
        opens=bool(opened),
        repeated=any(ast.unparse(decorator) == retry_contention.__name__ for decorator in node.decorator_list),
        queries=named & set(queries()),
        helpers=set(functions_with_connection(node, connections)) - RUNNERS,
    )


def opens(item: ast.withitem) -> bool:
    call = item.context_expr
    return isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] in OPENERS


def functions_with_connection(node: ast.AST, connections: set[str]) -> Iterator[str]:
    """Yield the last name of each function that is called with a connection, or is a method of one."""
    for call in ast.walk(node):
        if not isinstance(call, ast.Call):
            continue
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        if any(ast.unparse(value).split(".")[-1] in connections for value in given):
            yield ast.unparse(call.func).split(".")[-1]
        elif ast.unparse(call.func).split(".")[0] in connections:
            yield ast.unparse(call.func)


@cache
def functions() -> dict[str, list[Function]]:
    """All asynchronous functions of the service by their last name."""
    found = defaultdict(list)
    for path in SERVICE.rglob("*.py"):
        module = ".".join(path.relative_to(SERVICE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.AsyncFunctionDef):
                found[node.name].append(described(module, node))
    return found


def writes(function: Function, seen: frozenset[str] = frozenset()) -> bool:
    if any(WRITE.search(re.sub("--.*", "", queries()[name])) for name in function.queries):
        return True
    seen |= {function.name}
    return any(
        name not in functions() or any(writes(found, seen) for found in functions()[name] if found.name not in seen)
        for name in function.helpers
    )


@cache
def writers() -> dict[str, Function]:
    """All functions that open a transaction and write, by name."""
    return {
        function.name: function
        for found in functions().values()
        for function in found
        if function.opens and writes(function)
    }


def test_each_writer_repeats_its_transaction_or_has_a_reason() -> None:
    once = {name for name, writer in writers().items() if not writer.repeated}
    assert once == set(NOT_REPEATED), "decorate it with retry_contention, or name the reason"


@pytest.mark.parametrize("name", ["tasks.submit.take_over", "worker.retention.apply", "tasks.external_runs.record"])
def test_writers_are_found(name: str) -> None:
    assert name in writers()


@pytest.mark.parametrize("name", ["tasks.instances.page", "access.users.list_all", "tasks.diagnosis.build_archive"])
def test_readers_are_none(name: str) -> None:
    assert name not in writers()
