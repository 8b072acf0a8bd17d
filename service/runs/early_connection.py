"""Opens the ssh connection of a run while Ansible loads the playbook.

A worker process of Ansible executes one Ansible task that does nothing on the host. So the connection has the options,
the checks and the passwords of the run, and its control socket serves all later Ansible tasks. A failure is ignored:
the first task of the play then connects itself, and reports why it cannot.

Only a forked `ansible-playbook` imports this module, because it imports Ansible.
"""

import os
import select
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ansible import context
from ansible.executor.process.worker import WorkerProcess
from ansible.executor.task_queue_manager import FinalQueue
from ansible.inventory.host import Host
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play import Play
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import get_plugin_loader_namespace
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

WAIT_LIMIT = 1.0  # seconds after which worker processes no longer wait for the connection, but try themselves
SSH = ("smart", "ssh", "ansible.builtin.ssh")
PASSWORDS = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
_PLAY = {
    "hosts": "all",
    "gather_facts": False,
    "tasks": [{"name": "Connect", "ansible.builtin.raw": ":", "check_mode": False, "no_log": True}],
}
_VARIABLES = {"ansible_become": False, "ansible_ssh_use_tty": False}


def open_connection(loader: DataLoader, inventory: InventoryManager, variables: VariableManager) -> None:
    """Start to connect to the host of this run, if it is reached by ssh. Later worker processes wait for the end."""
    with suppress(Exception):  # whatever has failed, the run reports it where it matters
        hosts = inventory.get_hosts(context.CLIARGS["subset"])
        worker = _worker(hosts[0], loader, inventory, variables) if len(hosts) == 1 else None
        if worker is not None:
            worker.start()
            os.register_at_fork(after_in_child=_waiting_for(worker.pid))


def opens_early(variables: Mapping[str, Any], connection: str) -> bool:
    """Return whether to connect early to a host with these variables and this default of `ansible_connection`.

    Only by ssh, and without a password: a wrong one would count twice towards a lockout of the account.
    """
    return variables.get("ansible_connection", connection) in SSH and not any(map(variables.get, PASSWORDS))


def _worker(
    host: Host, loader: DataLoader, inventory: InventoryManager, variables: VariableManager
) -> WorkerProcess | None:
    HostVars(inventory, variables, loader)  # registers itself with the variable manager
    play = Play.load(_PLAY, variable_manager=variables, loader=loader)
    task = play.tasks[0].block[0]
    task_vars = {**variables.get_vars(play=play, host=host, task=task), **_VARIABLES}
    if not opens_early(task_vars, task.connection):
        return None
    return WorkerProcess(
        final_q=FinalQueue(),
        task_vars=task_vars,
        host=host,
        task=task,
        play_context=PlayContext(play),
        loader=loader,
        variable_manager=variables,
        shared_loader_obj=get_plugin_loader_namespace(),
        worker_id=0,
        cliargs=context.CLIARGS,
    )


def _waiting_for(process: int) -> Callable[[], None]:
    """Return a function that waits until the child process has ended, but not longer than `WAIT_LIMIT` from now."""
    ended = select.poll()
    ended.register(os.pidfd_open(process), select.POLLIN)
    deadline = time.monotonic() + WAIT_LIMIT

    def wait() -> None:
        ended.poll(max(deadline - time.monotonic(), 0.0) * 1000)  # milliseconds

    return wait
