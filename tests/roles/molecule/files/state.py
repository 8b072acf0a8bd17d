"""Runs on a lab host, as root: `note` keeps the host's state in mind, `compare` prints what is different from then.

The state: OBProxies and their watchdogs by pid and start time, packages, what each OBProxy has stored, and all files
that matter with mode, owner and content; no logs, no package database. It stays on the host, since Ansible is slow with
much data; a line per difference comes back.
"""

import hashlib
import json
import os
import pathlib
import pwd
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

NOTED = pathlib.Path("/run/state-before.json")
PLACES = ("/etc", "/home", "/opt/taobao", "/root", "/tmp", "/var/lib")
LEFT_OUT = (
    "/etc/obproxy-simulation.json",  # of the lab itself
    "/home/admin/logs",
    "/var/lib/dnf",
    "/var/lib/dpkg",
    "/var/lib/obproxy-takeover",  # goes with its first role's rollback, for all of them
    "/var/lib/rpm",
)
BEYOND_REACH = "observer_sys_password"  # OBProxy shows its hash, and a hash cannot be set
STORE = "proxyconfig_v1.db"


def processes() -> Iterator[str]:
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            comm = (directory / "comm").read_text().strip()
            stat = (directory / "stat").read_text().rpartition(")")[2].split()
            line = (directory / "cmdline").read_text().replace("\0", " ").strip()
            user = pwd.getpwuid(directory.stat().st_uid).pw_name
        except OSError:
            continue
        # A watchdog's subshells come and go; it is the one that init has adopted.
        if comm == "obproxy" or (comm == "obproxyd.sh" and stat[1] == "1"):
            yield f"{directory.name} {stat[19]} {user} {line}"


def files() -> Iterator[tuple[str, str]]:
    for place in PLACES:
        for directory, below, names in os.walk(place):
            below[:] = [name for name in below if f"{directory}/{name}" not in LEFT_OUT and name != "log"]
            for path in (pathlib.Path(directory, name) for name in names if not name.startswith(STORE)):
                if str(path) not in LEFT_OUT and path.is_file() and not path.is_symlink():
                    seen = path.stat()
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    yield str(path), f"{seen.st_mode & 0o7777:o} {pwd.getpwuid(seen.st_uid).pw_name} {digest}"


def parameters() -> Iterator[tuple[str, str]]:
    for place in PLACES:
        for path in pathlib.Path(place).rglob(STORE):
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            for (table,) in database.execute("select name from sqlite_master where type = 'table'"):
                for row in database.execute(f"select * from {table}"):  # noqa: S608
                    if BEYOND_REACH in row:
                        continue
                    yield f"{path} {table} {row}", "stored"


def packages() -> list[str]:
    return subprocess.run(["rpm", "-qa"], capture_output=True, text=True, check=True).stdout.split()


def main() -> None:
    now: dict[str, str] = {
        **dict.fromkeys(packages(), "installed"),
        **dict.fromkeys(processes(), "runs"),
        **dict(parameters()),
        **dict(files()),
    }
    if sys.argv[1] == "note":
        if not NOTED.exists():
            NOTED.write_text(json.dumps(now))
        return
    before = json.loads(NOTED.read_text())
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            print(f"{name}: {before.get(name)} -> {now.get(name)}")


main()
