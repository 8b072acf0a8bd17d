"""Wakes `ansible-playbook` up when a worker process of Ansible reports, so that it need not poll.

While an Ansible task is running, Ansible looks for its result every millisecond. That costs some 5 % of a processor for
each run that waits for its host, for minutes when an OBProxy drains. Here the wait ends when the thread that receives
results has received one. `POLL_INTERVAL` remains for what is not received: a worker process that has died.

Only a forked `ansible-playbook` imports this module, because it imports Ansible.
"""

import threading
import time
from typing import Any

from ansible import constants
from ansible.executor.task_queue_manager import FinalQueue
from ansible.plugins import strategy

POLL_INTERVAL = 0.05  # seconds


class WakingTime:
    """Stands in for the module `time` in Ansible's strategy plugins; its `sleep` ends early when a result arrives."""

    def __init__(self, arrived: threading.Event) -> None:
        self._arrived = arrived

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        """Wait for a result, if this is the wait for results; else sleep."""
        if seconds != constants.DEFAULT_INTERNAL_POLL_INTERVAL:
            time.sleep(seconds)
            return
        self._arrived.wait(POLL_INTERVAL)
        self._arrived.clear()  # before the caller looks for results, so that it misses none


def install() -> None:
    """Let strategy plugins wait for results instead of polling."""
    arrived = threading.Event()
    receive = FinalQueue.get

    def get(queue: FinalQueue) -> Any:
        arrived.set()  # the reader asks for the next result, so it has stored all those before
        return receive(queue)

    FinalQueue.get = get
    strategy.time = WakingTime(arrived)
