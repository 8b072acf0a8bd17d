"""Host program: starts a stopped OBProxy, and waits until it listens; never starts a second one.

The exit status is not reliable (docs/reference/obproxy.md 2.3), and the working directory becomes the home (trap 18).
So it is started in its home as the user of the inventory, and checked by its socket. Its home is read as that user.
"""

# ruff: noqa: PTH118, PTH120

import json
import os
import shlex
import signal
import subprocess
import time

try:
    from .files import exists, names_in, program_at
    from .process_lifetime import kill_all_started_by
    from .processes import identity, proxies_in
    from .sockets import answering_process, listens
    from .start_checks import start_problems, wait_for_ports
    from .undo_start import terminate_all
    from .users import run_as, user_named
except ImportError:  # on the host all parts are one text
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
FIRST_START_PATHS = (
    "etc",
    "log",
    ".conf",
    "control-config",
    "sharding-config",
)  # in the home; a first start creates them
HANDSHAKE_TIMEOUT = 5  # seconds for a SQL handshake, and for the end of a process


class Problem(Exception):
    """The OBProxy could not be started; the text is the reason.

    `processes` has the pids that were ended, or the one that is left running.
    """

    def __init__(self, text: str, **processes: "Any") -> None:
        super().__init__(text)
        self.processes = processes


def home_of(package: str) -> str:
    """Return the directory into which a package installs the OBProxy; raises Problem."""
    listing = subprocess.Popen(["rpm", "-ql", package], stdout=subprocess.PIPE, universal_newlines=True)
    files = listing.communicate()[0].split()
    binaries = [path for path in files if path.endswith("/bin/obproxy")]
    if len(binaries) != 1:
        raise Problem(f"package {package} contains no bin/obproxy")
    return os.path.dirname(os.path.dirname(binaries[0]))


def command(found: "dict[str, Any]", wanted: "dict[str, Any]") -> "tuple[list[str], dict[str, str]]":
    """Return the command line and the environment.

    Only a first start gets options: later they would overwrite values that were set since (trap 15).
    """
    port, name, cluster = str(wanted["sql_port"]), wanted["app_name"], wanted["rs_cluster_name"]
    first = wanted["first"]
    options = ",".join(f"{key}={value}" for key, value in sorted(wanted["options"].items())) if first else ""
    route = ["-r", wanted["rs_list"]] if wanted["rs_list"] and not wanted["config_server_url"] else []
    if found["has_script"]:
        source = ["-u", wanted["config_server_url"]] if not route else ["-r", "-s", cluster, "-t", wanted["rs_list"]]
        arguments = ["./bin/obproxyd.sh", "-c", "start", "-n", name, "-p", port] + (source if first else [])
        return arguments, {"OBPROXY_EXTRA_OPT": options} if options else {}
    if first and wanted["config_server_url"]:
        options += f",obproxy_config_server_url={wanted['config_server_url']}"
    arguments = ["./bin/obproxy", "-p", port, "-n", name]
    arguments += route + (["-c", cluster] if route and cluster else []) if first else []
    return arguments + (["-o", options.lstrip(",")] if options else []), {}


def inspect_homes(homes: "list[str]") -> "dict[str, Any]":
    """Return the state of the first home that contains the program, read as the user who starts it; raises OSError.

    Only root and this user may be able to change the program and the watchdog script.
    """
    program = next((path for path in (os.path.join(home, "bin/obproxy") for home in homes) if exists(path)), None)
    if program is None:
        raise FileNotFoundError(f"there is no bin/obproxy in {' or '.join(homes)}")
    home = os.path.realpath(os.path.dirname(os.path.dirname(program)))
    script = os.path.join(home, "bin/obproxyd.sh")
    has_script = exists(script) and os.access(script, os.X_OK)
    return {
        "home": home,
        "program": program_at(os.path.join(home, "bin/obproxy")),
        "has_script": bool(has_script and program_at(script)),
        "has_libraries": exists(os.path.join(home, "lib")),
        "fresh": not names_in(os.path.join(home, "etc")),
        "absent": [path for path in (os.path.join(home, name) for name in FIRST_START_PATHS) if not exists(path)],
    }


def launch(
    found: "dict[str, Any]", owner: str, arguments: "list[str]", environment: "dict[str, str]", seconds: float
) -> bool:
    """Start the OBProxy through a login shell of its user, which sets the limits of daemons (trap 27).

    Return whether the shell has ended in time. A shell that has not is ended with all that it has started.
    """
    home = found["home"]
    if found["has_libraries"]:
        environment = dict(environment, LD_LIBRARY_PATH=os.path.join(home, "lib"))
    words = [f"{key}={shlex.quote(value)}" for key, value in sorted(environment.items())]
    line = " ".join([f"cd {shlex.quote(home)} && exec env", *words, *map(shlex.quote, arguments)])
    quiet = subprocess.DEVNULL
    login = ["su", "-", owner, "-s", "/bin/sh", "-c", line]
    shell = subprocess.Popen(login, stdin=quiet, stdout=quiet, stderr=quiet, cwd="/", start_new_session=True)
    try:
        shell.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill_all_started_by(shell.pid)
        shell.wait()
        return False
    return True


def plan(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Return home, owner and program of a start; raises Problem.

    `wanted`: sql_port, package, home or None, owner (of the inventory). In the result:

    fresh     no configuration is stored, so this is a first start
    absent    paths that a first start creates
    """
    user = user_named(wanted["owner"])
    homes = [wanted["home"]] if wanted["home"] else []
    found = run_as(user, inspect_homes, homes + ([home_of(wanted["package"])] if wanted["package"] else []))
    if listens(wanted["sql_port"]):
        raise Problem(f"port {wanted['sql_port']} is in use")
    return dict(found, owner=wanted["owner"])


def start(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Start the OBProxy and return its pid; raises Problem after its processes were stopped.

    `wanted`: home, owner, first, sql_port, app_name, config_server_url, rs_list, rs_cluster_name, options, seconds.
    """
    home, owner = wanted["home"], wanted["owner"]
    found = run_as(user_named(owner), inspect_homes, [home])
    arguments, environment = command(found, wanted)
    deadline = time.monotonic() + wanted["seconds"]
    problem = f"no OBProxy of {home} answers at port {wanted['sql_port']}"
    if not launch(found, owner, arguments, environment, wanted["seconds"]):
        problem = f"the login shell of {owner} (its profile, or bin/obproxyd.sh) has not ended"
    pid = None
    while pid is None:
        if time.monotonic() > deadline:
            ended = terminate_all(home, wanted["sql_port"], HANDSHAKE_TIMEOUT)
            raise Problem(
                f"{problem} {wanted['seconds']} s after its start; its processes were stopped",
                ended=ended,
            )
        time.sleep(0.1)
        pid = answering_process(wanted["sql_port"], proxies_in(home), HANDSHAKE_TIMEOUT)
    program = found["program"]
    if identity(pid)["executable"] != program:
        raise Problem(
            f"pid {pid} at port {wanted['sql_port']} runs {identity(pid)['executable']}, not {program}", left=pid
        )
    kind = "obproxyd.sh" if found["has_script"] else "none"
    settled = {"home": home, "homes": [home], "ports": [wanted["sql_port"]], "supervisor": {"kind": kind}}
    problems = start_problems(pid, dict(wanted, **settled), [])
    if problems:
        raise Problem("; ".join(problems), left=pid)
    return {"pid": pid}


def main(wanted: "dict[str, Any]") -> None:
    """Print the plan, the new pid, the missing ports or the problem as one marked line."""
    signal.alarm(wanted["seconds"] * 4)
    try:
        if "ports" in wanted:
            answer = {"missing": wait_for_ports(wanted["pid"], wanted["ports"], wanted["seconds"])}
        else:
            answer = start(wanted) if "first" in wanted else plan(wanted)
    except Problem as problem:
        answer = dict(problem.processes, problem=str(problem))
    except OSError as problem:
        answer = {"problem": str(problem)}
    print(MARKER + json.dumps(answer))
