"""Server process of the service: has it imported, and a fork server with Ansible, which the services share.

The log of a service lacks the standard error of the fork server and its forks.
"""

import sys
from collections.abc import Mapping
from multiprocessing import forkserver

import service.__main__ as program
import service.cli.server  # noqa: F401 - `serve` and `worker` import it
from service.cli import main
from service.inventory import socket_directory
from service.runs.process_tree import disable_core_dumps

from .server import serve


def _run(_: Mapping[str, str]) -> None:
    # The fork server is no child of this process, but inherited with its address and the pipe that keeps it alive.
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[method-assign]
    sys.modules["__main__"] = program  # the fork server's forks import it
    sys.argv[:3] = [program.__file__]  # in place of `python -m service`
    main.run()


if __name__ == "__main__":
    disable_core_dumps()  # as the service does before it starts a fork server
    socket_directory.ensure()
    forkserver.ensure_running()
    serve(sys.argv[1], _run)
