"""Runs on the host: starts an OBProxy that does not run, never a second one, and waits until it listens.

Its exit status says nothing (docs/reference/obproxy.md 2.3), its home is the
directory it is started in (trap 18): so it is started in its home, as its files' owner, and judged by its socket.
"""

# ruff: noqa: PTH110, PTH112, PTH116, PTH118, PTH120, PTH208

import json
import os
import pwd
import shlex
import signal
import subprocess
import time

try:
    from .processes import identity, proxies_in
    from .settled import settle
    from .sockets import answering, listens
    from .withdraw import end_all
except ImportError:  # on the host there is no package, and the names are there
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "
MADE = ("etc", "log", ".conf", "control-config", "sharding-config")  # below the home, by a first start
PATIENCE = 5  # seconds for a greeting, and for an end


class Problem(Exception):
    """It could not be started; the text says why."""


def home_of(package: str) -> str:
    """The directory that a package installs the OBProxy to; raises Problem."""
    listing = subprocess.Popen(["rpm", "-ql", package], stdout=subprocess.PIPE, universal_newlines=True)
    files = listing.communicate()[0].split()
    binaries = [path for path in files if path.endswith("/bin/obproxy")]
    if len(binaries) != 1:
        raise Problem(f"package {package} holds no bin/obproxy")
    return os.path.dirname(os.path.dirname(binaries[0]))


def command(home: str, wanted: "dict[str, Any]") -> "tuple[list[str], dict[str, str]]":
    """Return the command line and the environment. Options are given only to a first start: later ones would overwrite
    what was set since (trap 15)."""
    port, name, cluster = str(wanted["sql_port"]), wanted["app_name"], wanted["rs_cluster_name"]
    first = wanted["first"]
    options = ",".join(f"{key}={value}" for key, value in sorted(wanted["options"].items())) if first else ""
    route = ["-r", wanted["rs_list"]] if wanted["rs_list"] and not wanted["config_server_url"] else []
    if has_script(home):
        source = ["-u", wanted["config_server_url"]] if not route else ["-r", "-s", cluster, "-t", wanted["rs_list"]]
        arguments = ["./bin/obproxyd.sh", "-c", "start", "-n", name, "-p", port] + (source if first else [])
        return arguments, {"OBPROXY_EXTRA_OPT": options} if options else {}
    if first and wanted["config_server_url"]:
        options += f",obproxy_config_server_url={wanted['config_server_url']}"
    arguments = ["./bin/obproxy", "-p", port, "-n", name]
    arguments += route + (["-c", cluster] if route and cluster else []) if first else []
    return arguments + (["-o", options.lstrip(",")] if options else []), {}


def has_script(home: str) -> bool:
    """Return whether the OBProxy comes with the platform's watchdog."""
    return os.access(os.path.join(home, "bin/obproxyd.sh"), os.X_OK)


def launch(home: str, owner: str, arguments: "list[str]", environment: "dict[str, str]") -> None:
    """Start it through the owner's login, which sets the limits that daemons inherit (trap 27)."""
    if os.path.isdir(os.path.join(home, "lib")):
        environment = dict(environment, LD_LIBRARY_PATH=os.path.join(home, "lib"))
    words = [f"{key}={shlex.quote(value)}" for key, value in sorted(environment.items())]
    line = " ".join([f"cd {shlex.quote(home)} && exec env", *words, *map(shlex.quote, arguments)])
    quiet = subprocess.DEVNULL
    subprocess.call(["su", "-", owner, "-s", "/bin/sh", "-c", line], stdin=quiet, stdout=quiet, stderr=quiet, cwd="/")


def plan(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """Return where it would be started, by whom and how; raises Problem. `wanted`: sql_port, package, home or None.

    fresh     whether nothing is stored, so that a start has to be told everything
    absent    what a first start makes
    """
    known = wanted["home"] and os.path.exists(os.path.join(wanted["home"], "bin/obproxy"))
    home = os.path.realpath(wanted["home"] if known else home_of(wanted["package"]))
    owner = pwd.getpwuid(os.stat(os.path.join(home, "bin/obproxy")).st_uid).pw_name
    if owner == "root":
        raise Problem(f"{home}/bin/obproxy belongs to root; a takeover wants an ordinary user's OBProxy")
    if listens(wanted["sql_port"]):
        raise Problem(f"port {wanted['sql_port']} is taken")
    stored = os.path.join(home, "etc")
    places = [os.path.join(home, name) for name in MADE]
    return {
        "home": home,
        "owner": owner,
        "fresh": not (os.path.isdir(stored) and os.listdir(stored)),
        "absent": [path for path in places if not os.path.lexists(path)],
        "has_script": has_script(home),
    }


def start(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """`wanted`: home, owner, first, sql_port, app_name, config_server_url, rs_list, rs_cluster_name, options, seconds.

    Raises Problem; then nothing runs that this start has launched."""
    home, owner = wanted["home"], wanted["owner"]
    arguments, environment = command(home, wanted)
    launch(home, owner, arguments, environment)
    pid = None
    deadline = time.monotonic() + wanted["seconds"]
    while pid is None:
        if time.monotonic() > deadline:
            end_all(home, wanted["sql_port"], PATIENCE)
            raise Problem(
                f"no OBProxy of {home} answers at port {wanted['sql_port']} {wanted['seconds']} s after its start; "
                "what was started has been ended"
            )
        time.sleep(0.1)
        pid = answering(wanted["sql_port"], proxies_in(home), PATIENCE)
    program = os.path.realpath(os.path.join(home, "bin/obproxy"))
    if identity(pid)["executable"] != program:
        raise Problem(f"pid {pid} at port {wanted['sql_port']} runs {identity(pid)['executable']}, not {program}")
    kind = "obproxyd.sh" if has_script(home) else "none"
    settled = {"home": home, "homes": [home], "ports": [wanted["sql_port"]], "supervisor": {"kind": kind}}
    problems = settle(pid, dict(wanted, **settled), [])
    if problems:
        raise Problem("; ".join(problems))
    return {"pid": pid}


def main(wanted: "dict[str, Any]") -> None:
    """Print where it would be started or what came up, or the problem, as one marked line."""
    signal.alarm(wanted["seconds"] * 4)
    try:
        answer = start(wanted) if "first" in wanted else plan(wanted)
    except (Problem, OSError) as problem:
        answer = {"problem": str(problem)}
    print(MARKER + json.dumps(answer))
