"""Kills a process and its descendants."""

from contextlib import suppress

import psutil


def kill_tree(pid: int) -> None:
    """Kill a process, if it has not ended, and its descendants.

    Ansible's workers have sessions of their own: a signal to the group would not reach them.
    """
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # it has ended meanwhile, the others have not
                process.kill()
