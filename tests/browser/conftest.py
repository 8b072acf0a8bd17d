"""Fixtures: one browser for the package, one service for a module, a logged-in visitor for a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, StorageState, sync_playwright

from service.store import embedded
from tests import memory
from tests.browser.staging import Stage, StagedService, staging
from tests.browser.visitor import ARGUMENTS, CHROMIUM, Visitor, visiting
from tests.integration.conftest import INVENTORY
from tests.lab import Lab
from tests.lab.service import Service, running


@pytest.fixture(scope="package")
def chromium(lab: Lab) -> Iterator[Browser]:
    """Start Chromium, which the preparation of the lab has installed.

    The scope is not the session: Playwright runs an event loop, and asynchronous tests elsewhere need their own.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service(lab: Lab) -> Iterator[Service]:
    """Start one service for the tests of a module."""
    with running(lab.directory, lab.inventory, forked=True) as started:
        yield started


@pytest.fixture(scope="package")
def postgres() -> Iterator[str]:
    """Start a PostgreSQL, and return its connection string."""
    with memory.directory() as directory, embedded.running(Path(directory) / "pg") as url:
        yield url


@pytest.fixture(scope="module")
def stage(postgres: str) -> Iterator[Stage]:
    """Provide a database that outlives its service, and an inventory of three hosts that do not exist."""
    with staging(postgres, INVENTORY) as stage:
        yield stage


@pytest.fixture(scope="module")
def logged_in(chromium: Browser, service: Service | StagedService) -> StorageState:
    """Log in through the form, and return the cookies."""
    with visiting(chromium, service.url) as visitor:
        visitor.open("/login")
        visitor.log_in(service.password)
        return visitor.page.context.storage_state()


@pytest.fixture
def visitor(chromium: Browser, service: Service | StagedService, logged_in: StorageState) -> Iterator[Visitor]:
    """Open a page in which the administrator is logged in."""
    with visiting(chromium, service.url, storage_state=logged_in) as visitor:
        yield visitor
