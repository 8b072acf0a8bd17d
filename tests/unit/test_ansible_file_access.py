"""Every program on a host reaches files only through `files`, which acts as one user."""

import ast
from pathlib import Path

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils import programs

MODULES = sorted(Path(str(programs.__file__)).parent.glob("*.py"))
REACHING = {"open", "stat", "lstat", "link", "symlink", "rename", "replace", "unlink", "remove", "listdir", "scandir"}
REACHING |= {"mkdir", "makedirs", "rmdir", "chmod", "chown", "access", "exists", "lexists", "isfile", "isdir", "islink"}
REACHING |= {"readlink", "realpath", "statvfs", "rmtree", "walk", "chdir", "truncate", "utime", "samefile", "getsize"}
# Functions that reach a file otherwise, and why they may.
ALLOWED = {
    "files": {"open_directory": "opens the root directory", "names_in": "of a directory that is open"},
    "listeners": {
        "read": "of /proc, and /etc/os-release",
        "link": "of /proc",
        "process": "of /proc",
        "socket_inodes": "of /proc",
    },
    "sockets": {"rows": "of /proc", "sockets_of": "of /proc"},
    "probe": {
        "read_as_user": "has become the user",
        "room": "of directories that are open, by /proc",
        "host": "looks for package managers",
    },
    "processes": {"become_it": "has become the user", "relaunch": "has become the user"},
    "start": {"inspect_homes": "has become the user"},
    "supervision": {
        "cron_jobs_of": "of root's crontabs",
        "read_text": "of root's crontabs; for a watchdog's record it has become the user",
        "shares_host_files": "compares a process's own executable and directory",
    },
    "undo_start": {"remove": "has become the user"},
}


def reaching(module: Path) -> set[str]:
    """Return the functions of a module that access a file by its path, outside /proc and open directories."""
    found = set()
    functions = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                name, text = ast.unparse(node.func), ast.unparse(node)
                path = ast.unparse(node.args[0]).lstrip("f'\"") if node.args else ""
                is_call = name == "open" or (name.startswith(("os.", "shutil.")) and name.split(".")[-1] in REACHING)
                if is_call and "dir_fd=" not in text and not path.startswith("/proc"):
                    found.add(function.name)
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.stem))
def test_files_are_reached_in_one_way(module: Path) -> None:
    assert reaching(module) == set(ALLOWED.get(module.stem, {}))


def test_programs_share_no_names() -> None:
    """Check that no name is defined twice: on the host all parts of a program share one namespace."""
    seen: dict[str, str] = {}
    for module in MODULES:
        for node in ast.parse(module.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in ("main", "Problem"):
                assert node.name not in seen, f"{node.name} is in {seen.get(node.name)} and {module.stem}"
                seen[node.name] = module.stem
