"""Ansible's wait for results ends when one has arrived."""

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible import constants
from ansible.executor.task_queue_manager import FinalQueue
from ansible.plugins import strategy

from service.runs import ansible_playbook, result_wakeup


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield what strategy plugins have as the module `time`. Its waits have no limit, so one that is missed hangs."""
    monkeypatch.setattr(FinalQueue, "get", FinalQueue.get)
    monkeypatch.setattr(strategy, "time", time)
    monkeypatch.setattr(result_wakeup, "POLL_INTERVAL", None)
    result_wakeup.install()
    yield strategy.time


def test_a_wait_ends_after_a_result_was_stored(waits: Any) -> None:
    queue, stored = FinalQueue(), []

    def receive() -> None:
        while (result := queue.get()) is not None:
            stored.append(result)

    reader = threading.Thread(target=receive, daemon=True)
    reader.start()
    for number in range(100):
        queue.put(number)
        while len(stored) <= number:
            waits.sleep(constants.DEFAULT_INTERNAL_POLL_INTERVAL)
    queue.put(None)
    reader.join()

    assert stored == list(range(100))


def test_other_functions_of_time_are_as_usual(waits: Any) -> None:
    waits.sleep(0.0)  # without a result

    assert waits.monotonic is time.monotonic


def test_ansible_polls_when_it_has_no_such_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategy, "time", time)
    monkeypatch.setitem(sys.modules, "service.runs.result_wakeup", None)  # its import fails

    ansible_playbook.wait_for_results()

    assert strategy.time is time
