"""Finding the processes of a run on this machine, by what they carry in their environment, or where they work."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil


def of_run(ident: str) -> list[psutil.Process]:
    """Everything that carries the ident of a run: ansible-playbook, its workers, ssh and its masters."""
    return [process for process in psutil.process_iter() if _carries(process, ident)]


def playbook(ident: str) -> psutil.Process:
    """Return the ansible-playbook of a run: among the processes with its ident, the one whose parent lacks it.

    Raises NoSuchProcess when the run has none.
    """
    found = {process.pid: process for process in of_run(ident) if _is_playbook(process)}
    for process in found.values():
        # Others come and go meanwhile.
        with suppress(psutil.NoSuchProcess):
            if process.ppid() not in found:
                return process
    raise psutil.NoSuchProcess(0, msg=f"run {ident} has no ansible-playbook")


def child(ident: str) -> psutil.Process:
    """Return the service's own process of a run, ansible-playbook's parent."""
    return psutil.Process(playbook(ident).ppid())


def forkserver(ident: str) -> psutil.Process:
    return psutil.Process(child(ident).ppid())


def alive(processes: Iterable[psutil.Process]) -> Iterator[psutil.Process]:
    """Yield the processes that are not zombies."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _carries(process: psutil.Process, ident: str) -> bool:
    """Return whether a process belongs to the run: by the ident in its environment, or by its working directory."""
    with suppress(psutil.Error):
        if process.environ().get("OBPROXY_TAKEOVER") == ident:
            return True
        return (Path(process.cwd()) / "artifacts" / ident).exists()
    return False


def _is_playbook(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.name().startswith("ansible-playbo")
    return False
