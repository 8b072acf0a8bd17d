"""One browser for all these tests; one service on the lab's inventory for a module; visitors who are logged in."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, StorageState, sync_playwright

from service.store import embedded
from tests.browser.staging import Stage
from tests.browser.visitor import ARGUMENTS, CHROMIUM, Visitor, visiting
from tests.integration.conftest import INVENTORY
from tests.lab import Lab
from tests.lab.service import Service, running


@pytest.fixture(scope="package")
def chromium(lab: Lab) -> Iterator[Browser]:
    """Debian's Chromium, which preparing the lab has installed.

    Not for the session: Playwright runs an event loop as long as it is there, and asynchronous tests want their own.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(lab: Lab) -> Iterator[Service]:
    """One service for the tests of a module."""
    with running(lab.directory, lab.inventory) as started:
        yield started


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A database of its own, which outlives its service, and three hosts that need not exist."""
    with tempfile.TemporaryDirectory(prefix="stage-") as name, embedded.running(Path(name) / "pg") as url:
        inventory = Path(name) / "inventory"
        inventory.mkdir()
        (inventory / "hosts.yml").write_text(INVENTORY, encoding="utf-8")
        yield Stage(database_url=url, directory=Path(name), inventory=inventory)


@pytest.fixture(scope="module")
def logged_in(chromium: Browser, service: Service) -> StorageState:
    """The cookies of somebody who has logged in by the form."""
    with visiting(chromium, service.url) as visitor:
        visitor.open("/login")
        visitor.log_in(service.password)
        visitor.page.wait_for_url("**/tasks")
        return visitor.page.context.storage_state()


@pytest.fixture
def visitor(chromium: Browser, service: Service, logged_in: StorageState) -> Iterator[Visitor]:
    """The administrator at a browser of its own."""
    with visiting(chromium, service.url, storage_state=logged_in) as visitor:
        yield visitor
