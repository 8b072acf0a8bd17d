"""Finding the processes of a run on this machine, by what they carry in their environment."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

import psutil


def of_run(ident: str) -> list[psutil.Process]:
    """Everything that carries the ident of a run: ansible-playbook, its workers, ssh and its masters."""
    return [process for process in psutil.process_iter() if _carries(process, ident)]


def playbook(ident: str) -> psutil.Process:
    """The ansible-playbook of a run: the first of what carries its ident."""
    found = of_run(ident)
    pids = {process.pid for process in found}
    roots = [process for process in found if process.ppid() not in pids and "ansible-playbook" in _command(process)]
    (root,) = roots
    return root


def child(ident: str) -> psutil.Process:
    """The service's own process of a run, ansible-playbook's parent."""
    return psutil.Process(playbook(ident).ppid())


def forkserver(ident: str) -> psutil.Process:
    return psutil.Process(child(ident).ppid())


def alive(processes: Iterable[psutil.Process]) -> Iterator[psutil.Process]:
    """Those that are not zombies."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _carries(process: psutil.Process, ident: str) -> bool:
    with suppress(psutil.Error):
        return process.environ().get("OBPROXY_TAKEOVER") == ident
    return False


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
