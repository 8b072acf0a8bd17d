"""Every program on a host reaches files only through `files`, which acts as one user."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils import programs

MODULES = sorted(Path(str(programs.__file__)).parent.glob("*.py"))
REACHING = {"open", "stat", "lstat", "link", "symlink", "rename", "replace", "unlink", "remove", "listdir", "scandir"}
REACHING |= {"mkdir", "makedirs", "rmdir", "chmod", "chown", "access", "exists", "lexists", "isfile", "isdir", "islink"}
REACHING |= {"readlink", "realpath", "statvfs", "rmtree", "walk", "chdir", "truncate", "utime", "samefile", "getsize"}
FOLLOWED = re.compile(r"/(?:(?:exe|cwd|root|fd)\b|\{name\})")  # of a process: they lead to a file anywhere
# Functions that reach a file otherwise, and why they may.
ALLOWED = {
    "files": {
        "walk": "opens the root directory",
        "names_of": "of a directory that is open",
        "read_regular": "by a descriptor in /proc, of what has been found to be a regular file",
    },
    "listeners": {"read": "of /proc, and /etc/os-release", "link": "of /proc"},
    "sockets": {"rows": "of /proc", "socket_inodes": "of /proc"},
    "probe": {
        "read_as_user": "has become the user",
        "room": "of a directory that is open",
        "home_disk": "finds the directory of a process, which nobody else chooses; nothing is done with it",
        "host": "looks for package managers",
    },
    "processes": {"strings_of": "of /proc", "become_it": "has become the user", "relaunch": "has become the user"},
    "start": {"inspect_homes": "has become the user"},
    "supervision": {
        "shares_host_files": "finds the files of a process, which nobody else chooses; nothing is done with them",
        "are_at": "has become the user",
        "recorded_pid": "has become the user",
    },
    "undo_start": {"remove": "has become the user"},
}
STARTING = {
    "subprocess.Popen",
    "subprocess.call",
    "subprocess.run",
    "start_command",
    "relaunch",
    "command_output",
    "run_command",
    "run",
}
# Functions that execute something, and why they may.
EXECUTING = {
    "commands": {
        "binary_version": "has become the user",
        "packages_and_commands": "rpm; as the user where the path is the user's; su to the user",
    },
    "converge": {"run": "a program that nobody but the acting user can change", "converge": "has become the user"},
    "homes": {"clear": "has become the user"},
    "limited_command": {"start_command": "as its callers say"},
    "processes": {"relaunch": "has become the user"},
    "restart": {
        "cold_restart": "as the user of the process",
        "restart_by_supervisor": "systemctl",
        "restore_by_supervisor": "systemctl; the watchdog as its own user, who is no other than the process's",
        "restart_process": "the watchdog as its own user, who is no other than the process's",
    },
    "start_checks": {"supervisor_problems": "systemctl"},
    "start": {"home_of": "rpm, with a package's name", "launch": "su to the user"},
    "supervision": {
        "run_command": "systemctl",
        "command_output": "systemctl",
        "unit_of": "systemctl",
        "version_status": "as the user of the process",
    },
    "undo_start": {"remove": "has become the user"},
}


def functions(module: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.FunctionDef)]


def reaching(module: Path) -> set[str]:
    """Return the functions of a module that access a file by its path, outside /proc and open directories."""
    found = set()
    for function in functions(module):
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                name, text = ast.unparse(node.func), ast.unparse(node)
                path = ast.unparse(node.args[0]).lstrip("f'\"") if node.args else ""
                is_call = name == "open" or (name.startswith(("os.", "shutil.")) and name.split(".")[-1] in REACHING)
                is_of_proc = path.startswith("/proc") and (name == "os.readlink" or not FOLLOWED.search(path))
                if is_call and "dir_fd=" not in text and not is_of_proc:
                    found.add(function.name)
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.stem))
def test_files_are_reached_in_one_way(module: Path) -> None:
    assert reaching(module) == set(ALLOWED.get(module.stem, {}))


def executing(module: Path) -> set[str]:
    """Return the functions of a module that execute a program."""
    calls = ((function.name, node) for function in functions(module) for node in ast.walk(function))
    return {name for name, node in calls if isinstance(node, ast.Call) and ast.unparse(node.func) in STARTING}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.stem))
def test_programs_are_executed_in_listed_functions(module: Path) -> None:
    assert executing(module) == set(EXECUTING.get(module.stem, {}))


def test_actions_execute_nothing_else_on_the_host() -> None:
    """A host executes programs of `programs`, or a package manager with the name of a package."""
    actions = Path(str(programs.__file__)).parents[2] / "action"
    calls = {
        (module.stem, function.name)
        for module in actions.glob("*.py")
        for function in functions(module)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".execute", "._low_level_execute_command"))
    }
    assert calls == {("obproxy_package", "_install"), ("obproxy_package", "_remove_package")}


def test_programs_share_no_names() -> None:
    """Check that no name is defined twice: on the host all parts of a program share one namespace.

    Constants with the same value may be: the last definition changes nothing.
    """
    seen: dict[str, tuple[str, str]] = {}
    for module in MODULES:
        for name, definition in definitions(module):
            assert seen.setdefault(name, (module.stem, definition))[1] == definition, (name, seen[name][0], module.stem)


def definitions(module: Path) -> Iterator[tuple[str, str]]:
    """Yield each name that a part of a program defines, with what distinguishes two definitions of it."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in ("main", "Problem"):
            yield node.name, module.stem
        if isinstance(node, ast.Assign):
            yield from ((ast.unparse(target), ast.unparse(node.value)) for target in node.targets)
