"""An early connection is only tried where it does no harm, and its failure never ends the run."""

import os
from typing import Any, cast

import pytest
from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

from service.runs import early_connection


class OneHost:
    """An inventory with one host."""

    def get_hosts(self, _: str) -> list[str]:
        return ["odp-1"]


class Started:
    """A worker process that has ended."""

    pid = 1

    def start(self) -> None:
        pass


@pytest.mark.parametrize("error", [AnsibleError("no such variable"), OSError("no more processes"), KeyError("vars")])
@pytest.mark.parametrize("place", ["worker", "pidfd"])
def test_a_failure_is_ignored(monkeypatch: pytest.MonkeyPatch, place: str, error: Exception) -> None:
    asked: list[str] = []

    def fail(*_: Any) -> Any:
        asked.append(place)
        raise error

    monkeypatch.setattr(context, "CLIARGS", {"subset": "odp-1"})
    monkeypatch.setattr(early_connection, "_worker", fail if place == "worker" else lambda *_: Started())
    monkeypatch.setattr(os, "pidfd_open", fail)
    early_connection.open_connection(DataLoader(), cast(InventoryManager, OneHost()), VariableManager())
    assert asked == [place]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, True),
        ({"ansible_connection": "ssh", "ansible_password": ""}, True),
        ({"ansible_connection": "local"}, False),
        *(({name: "secret"}, False) for name in early_connection.PASSWORDS),
    ],
)
def test_only_ssh_without_a_password_is_opened_early(variables: dict[str, str], expected: bool) -> None:
    assert early_connection.opens_early(variables, "ssh") is expected
