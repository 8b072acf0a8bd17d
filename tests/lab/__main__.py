"""The lab at the command line: python -m tests.lab prepare|up|down|list|ssh."""

import argparse
import os
import sys
from pathlib import Path

from . import HostSpec, Lab, LabError, LabHost
from .states import DEFAULT_VERSION, STATES

DEFAULT_DIRECTORY = Path(__file__).parents[2] / ".lab" / "hosts-by-hand"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 1, with one sentence on stderr, if the lab cannot do it."""
    options = _parser().parse_args(arguments)
    lab = Lab(options.directory)
    try:
        if options.command == "prepare":
            lab.prepare()
        elif options.command == "up":
            _up(lab, options)
        elif options.command == "down":
            _down(lab, options.name)
        elif options.command == "list":
            _list(lab)
        else:
            _ssh(lab, options.name, options.rest)
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--directory", type=Path, default=DEFAULT_DIRECTORY, help="the lab's directory (%(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="install what is missing and build the images")
    up = commands.add_parser("up", help="start hosts")
    up.add_argument("name", nargs="+")
    up.add_argument("--state", default="running", choices=sorted(STATES))
    up.add_argument("--version", default=DEFAULT_VERSION)
    up.add_argument("--sql-port", type=int, default=2883)
    up.add_argument("--first-id", type=int, help="ocp_host_id of the first (default: the next free one)")
    down = commands.add_parser("down", help="remove hosts; without a name the whole lab")
    down.add_argument("name", nargs="*")
    commands.add_parser("list", help="show the hosts")
    ssh = commands.add_parser("ssh", help="log in as Ansible does")
    ssh.add_argument("name")
    ssh.add_argument("rest", nargs=argparse.REMAINDER)
    return parser


def _up(lab: Lab, options: argparse.Namespace) -> None:
    lab.prepare()
    first = options.first_id or max((host.host_id for host in lab.hosts.values()), default=0) + 1
    specs = [
        HostSpec(name, first + offset, options.state, options.version, options.sql_port)
        for offset, name in enumerate(options.name)
    ]
    lab.start_many(specs)
    _list(lab)
    print(f"Inventory: {lab.inventory}")


def _down(lab: Lab, names: list[str]) -> None:
    for name in names:
        _host(lab, name).remove()
    if not names:
        lab.close()


def _list(lab: Lab) -> None:
    line = "{:<20} {:>4} {:<15} {:>5}  {:<16} {:<16} {}"
    print(line.format("host", "id", "address", "port", "state", "version", "cluster"))
    for host in sorted(lab.hosts.values(), key=lambda host: host.host_id):
        cluster = host.cluster or "-"
        print(line.format(host.name, host.host_id, host.address, host.sql_port, host.state, host.version, cluster))


def _ssh(lab: Lab, name: str, rest: list[str]) -> None:
    os.execvp("ssh", lab.ssh_command(_host(lab, name), *rest))  # noqa: S606


def _host(lab: Lab, name: str) -> LabHost:
    try:
        return lab.hosts[name]
    except KeyError:
        raise LabError(f"There is no host {name} in {lab.directory}.") from None


if __name__ == "__main__":
    sys.exit(main())
