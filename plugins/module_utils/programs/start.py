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

try:  # noqa: SIM105
    from .sockets import listens
except ImportError:  # on the host there is no package, and the names are there
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARKER = "OBPROXY-RESULT "


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
    """The command line and the environment. Options are given only to an OBProxy that has no stored ones yet: they
    would overwrite what was set since (trap 15)."""
    port, name = str(wanted["sql_port"]), wanted["app_name"]
    places = os.path.join(home, "etc")
    fresh = not (os.path.isdir(places) and os.listdir(places))
    options = ",".join(f"{key}={value}" for key, value in sorted(wanted["options"].items())) if fresh else ""
    if os.access(os.path.join(home, "bin/obproxyd.sh"), os.X_OK):
        source = ["-u", wanted["config_server_url"]] if wanted["config_server_url"] else ["-r", "-t", wanted["rs_list"]]
        arguments = ["./bin/obproxyd.sh", "-c", "start", "-n", name, "-p", port] + (source if fresh else [])
        return arguments, {"OBPROXY_EXTRA_OPT": options} if options else {}
    if fresh and wanted["config_server_url"]:
        options += f",obproxy_config_server_url={wanted['config_server_url']}"
    arguments = ["./bin/obproxy", "-p", port, "-n", name]
    arguments += ["-r", wanted["rs_list"]] if fresh and wanted["rs_list"] else []
    return arguments + (["-o", options.lstrip(",")] if options else []), {}


def launch(home: str, owner: str, arguments: "list[str]", environment: "dict[str, str]") -> None:
    """Start it through the owner's login, which sets the limits that daemons inherit (trap 27)."""
    if os.path.isdir(os.path.join(home, "lib")):
        environment = dict(environment, LD_LIBRARY_PATH=os.path.join(home, "lib"))
    words = [f"{key}={shlex.quote(value)}" for key, value in sorted(environment.items())]
    line = " ".join([f"cd {shlex.quote(home)} && exec env", *words, *map(shlex.quote, arguments)])
    quiet = subprocess.DEVNULL
    subprocess.call(["su", "-", owner, "-s", "/bin/sh", "-c", line], stdin=quiet, stdout=quiet, stderr=quiet, cwd="/")


def start(wanted: "dict[str, Any]") -> "dict[str, Any]":
    """`wanted`: sql_port, package, home or None, app_name, config_server_url, rs_list, options, seconds."""
    known = wanted["home"] and os.path.exists(os.path.join(wanted["home"], "bin/obproxy"))
    home = wanted["home"] if known else home_of(wanted["package"])
    owner = pwd.getpwuid(os.stat(os.path.join(home, "bin/obproxy")).st_uid).pw_name
    if owner == "root":
        raise Problem(f"{home}/bin/obproxy belongs to root; a takeover wants an ordinary user's OBProxy")
    if listens(wanted["sql_port"]):
        raise Problem(f"port {wanted['sql_port']} is taken")
    arguments, environment = command(home, wanted)
    launch(home, owner, arguments, environment)
    deadline = time.monotonic() + wanted["seconds"]
    while not listens(wanted["sql_port"]):
        if time.monotonic() > deadline:
            raise Problem(
                f"nothing listens on port {wanted['sql_port']} {wanted['seconds']} s after the start in {home}"
            )
        time.sleep(0.1)
    return {"home": home, "owner": owner}


def main(wanted: "dict[str, Any]") -> None:
    """Print where it was started, or the problem, as one marked line."""
    signal.alarm(wanted["seconds"] * 2)
    try:
        answer = start(wanted)
    except (Problem, OSError) as problem:
        answer = {"problem": str(problem)}
    print(MARKER + json.dumps(answer))
