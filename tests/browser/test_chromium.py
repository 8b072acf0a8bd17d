"""The browser of these tests: network interfaces of the lab do not interrupt its requests."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from playwright.sync_api import Browser

from tests.browser.visitor import visiting
from tests.lab.service import Service


def open_files(pid: int) -> Iterator[str]:
    """Yield the open files of a process as the kernel names them."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield str(file.readlink())


def test_chromium_does_not_watch_network_interfaces(chromium: Browser, service: Service) -> None:
    with visiting(chromium, service.url) as visitor:
        visitor.open("/login")
        processes = [p for p in psutil.Process().children(recursive=True) if "chromium" in p.name()]
        sockets = {f"socket:[{line.split()[-1]}]" for line in Path("/proc/net/netlink").read_text().splitlines()[1:]}

        held = {file for process in processes for file in open_files(process.pid)}

    assert any(file.startswith("socket:") for file in held)
    assert not held & sockets
