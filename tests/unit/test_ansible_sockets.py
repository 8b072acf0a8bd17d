"""Finds the sockets of a process that opens and closes others meanwhile."""

import errno
import os
import socket

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.programs import sockets


def test_a_file_that_is_closed_meanwhile_hides_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    names, pid = os.listdir, os.getpid()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # The first name is of a file that was open when the directory was listed.
        monkeypatch.setattr(os, "listdir", lambda path: ["1000000", *names(path)])
        assert listening.getsockname()[1] in sockets.ports_of(pid)


def test_an_ended_process_has_no_socket() -> None:
    assert sockets.socket_inodes(2**22) == (set(), "")


def test_unreadable_sockets_have_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "listdir", denied)
    assert sockets.socket_inodes(os.getpid()) == (set(), "Permission denied")
