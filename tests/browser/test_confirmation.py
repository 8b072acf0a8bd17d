"""Confirmation of operations in a browser that runs no script, or has not loaded it yet."""

from collections.abc import Iterator
from itertools import count

import pytest
from playwright.sync_api import Browser, StorageState, expect

from service.model.workflow import TAKEOVER
from service.tasks.resources import Resources
from tests.browser.staging import Stage, StagedService
from tests.browser.visitor import CONNECTION_ERROR, Visitor, visiting
from tests.integration import sample_tasks

HOST_IDS = count(1)


@pytest.fixture(scope="module")
def service(stage: Stage) -> Iterator[StagedService]:
    """Start a service on the database of the stage, without a worker."""
    with stage.served() as started:
        yield started


@pytest.fixture
def failed(service: StagedService, stage: Stage) -> int:
    """Make a failed task instance of a host that no other test uses."""

    async def fail(resources: Resources) -> int:
        task_id = await sample_tasks.take_over(resources, next(HOST_IDS))
        await sample_tasks.advance(resources, task_id, [], resources.workflows[TAKEOVER].roles[0], "It is full.")
        return task_id

    return stage.do(fail)


ASKED = "Failed to load resource: the server responded with a status of 428"
"""The message of Chromium on the console when the server asks for the confirmation."""


@pytest.fixture
def without_script(chromium: Browser, service: StagedService, logged_in: StorageState) -> Iterator[Visitor]:
    """Open a page in which the administrator is logged in and no script runs."""
    with visiting(chromium, service.url, storage_state=logged_in, java_script_enabled=False) as visitor:
        visitor.expected = (ASKED,)
        yield visitor


def test_without_a_script_the_server_asks(without_script: Visitor, failed: int) -> None:
    page = without_script.open(f"/tasks/{failed}")
    page.locator("#task-rollback").click()
    expect(page.locator("h1")).to_have_text("Roll back this task?")
    page.locator("#back").click()
    expect(page.locator("#task-header .badge")).to_have_text("Failed")

    page.locator("#task-rollback").click()
    page.locator("#confirmed").click()

    expect(page.locator(".toast")).to_contain_text("Rollback submitted.")
    expect(page.locator("#task-header .badge")).to_have_text("Queued")


def test_a_click_before_the_script_has_loaded_is_asked_about(visitor: Visitor, failed: int) -> None:
    visitor.page.route("**/page.js*", lambda route: route.abort())
    visitor.expected = (ASKED, CONNECTION_ERROR)
    visitor.open(f"/tasks/{failed}")
    visitor.page.locator("#task-retry").click()

    expect(visitor.page.locator("h1")).to_have_text("Retry this task?")
    visitor.assert_accessible()


def test_without_a_script_a_takeover_follows_a_check(without_script: Visitor) -> None:
    page = without_script.open("/clusters/1/takeover")
    page.check("#host-3")

    expect(page.locator("#take-over")).to_be_disabled()
    page.locator("#check").click()
    expect(page.locator("h1")).to_contain_text("Precheck for")
