"""Data flows one way: a module imports only from its left. CONTRIBUTING.md shows the same list."""

import ast
import re
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[2] / "service"

ORDER = [
    *("errors", "errors_people", "errors_tasks", "types", "settings", "sql"),
    *("state", "template", "results", "verdict", "events", "document", "document_clusters", "graph"),
    *("masking", "excerpts", "signature", "permissions", "languages"),
    *("logs", "metrics", "tracing", "migrations", "embedded", "database", "unvault", "inventory", "secrets"),
    *("passwords", "users", "access_keys", "rekeying", "logins", "sessions", "audit"),
    *(
        "queue",
        "resources",
        "instances",
        "clusters",
        "parameters",
        "hosts",
        "candidates",
        "exporters",
        "measures",
        "news",
        "submit",
        "learned",
        "recorder",
        "operations",
        "external",
        "diagnosis",
        "retention",
    ),
    *("processes", "run_environment", "run_files", "forked", "run_child", "run_server", "run"),
    *("remains", "supervisor", "leases"),
    *("look", "greeting", "checks", "job", "worker"),
    *("headers", "responses", "bodies", "auth", "guards", "measuring", "spans"),
    *(
        "schemas",
        "requests",
        "answers",
        "answers_clusters",
        "openapi",
        "pages",
        "pages_errors",
        "pages_login",
        "pages_detail",
        "pages_obproxy",
        "pages_audit",
        "pages_takeover",
        "pages_tasks",
        "streams",
    ),
    *("endpoints_obproxy", "endpoints_tasks", "endpoints_events", "endpoints_service"),
    *(
        "routes_obproxy",
        "routes_tasks",
        "routes_events",
        "routes_service",
        "routes_pages",
        "routes",
        "app",
        "transport",
    ),
    *("signing", "client", "progress", "cli_connection", "cli_tasks", "cli_users", "cli_keys", "cli", "__main__"),
]

HTTP = tuple(ORDER[ORDER.index("headers") : ORDER.index("transport") + 1])


def imported(module: str) -> set[str]:
    """Dotted names of everything a module imports."""
    names: set[str] = set()
    path = SERVICE / f"{module}.py"
    tree = ast.parse((path if path.exists() else SERVICE / module / "__init__.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "service":
            names |= {f"service.{alias.name}" for alias in node.names if alias.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def own(module: str) -> set[str]:
    """The modules of this package that a module imports."""
    return {name.split(".")[1] for name in imported(module) if name.startswith("service.")}


def foreign(module: str) -> set[str]:
    """The libraries that a module imports, standard ones included."""
    return {name.split(".")[0] for name in imported(module)} - {"service"}


def test_every_module_has_its_place() -> None:
    modules = {path.stem for path in SERVICE.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in SERVICE.glob("*/__init__.py")}
    assert modules | packages == set(ORDER)


def test_contributing_shows_the_same_list() -> None:
    text = (SERVICE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = text[text.index("Modules in import order") : text.index("Pure modules use no database")]
    assert re.findall(r"`([a-z_]+)`", shown) == ORDER


@pytest.mark.parametrize("module", ORDER)
def test_imports_only_from_its_left(module: str) -> None:
    assert own(module) <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize("module", ORDER)
def test_foreign_libraries_stay_where_they_belong(module: str) -> None:
    assert ("ansible_runner" in foreign(module)) == (module in ("run_child", "forked"))
    assert "starlette" not in foreign(module) or module in HTTP
    assert "opentelemetry" not in foreign(module) or module in ("tracing", "spans")


@pytest.mark.parametrize("module", HTTP)
def test_http_never_reaches_into_the_work(module: str) -> None:
    assert not own(module) & {"run", "run_child", "run_files", "supervisor", "worker"}


PURE = ORDER[ORDER.index("state") : ORDER.index("metrics")]


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_know_neither_database_nor_network_nor_ansible(module: str) -> None:
    assert not foreign(module) & {"psycopg", "asyncio", "socket", "subprocess", "httpx", "ansible", "time", "os"}
