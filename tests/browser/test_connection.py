"""Pages without a connection to the service: the state is shown, and nothing leads to the browser's error page."""

import contextlib
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Ended, Verdict
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from tests.browser.staging import Stage, StagedService, begin
from tests.browser.visitor import CONNECTION_ERROR, Visitor, visiting
from tests.integration import sample_tasks
from tests.lab.service import running

CLOCK = r"\d\d:\d\d:\d\d"


@pytest.fixture(scope="module")
def service(stage: Stage) -> Iterator[StagedService]:
    """Start a service on the database of the stage, without a worker."""
    with stage.served() as started:
        yield started


@pytest.fixture(scope="module")
def task_id(stage: Stage) -> int:
    """Submit a takeover, start its first subtask, and return the id of the task instance."""
    return stage.do(lambda resources: begin(resources, 1))


async def fail(resources: Resources, task_id: int) -> None:
    """Let the first subtask, which is running, fail."""
    role = resources.workflows[TAKEOVER].roles[0]
    ended = Ended(role=role, verdict=Verdict.FAILED, code="TASK_FAILED", message="It is full.")
    await Recorder(resources, task_id).record([ended])


def expect_state(page: Page, state: str, text: str) -> None:
    """Wait until the page shows a state of its connection."""
    expect(page.locator("#connection")).to_have_attribute("data-state", state)
    expect(page.locator("#connection")).to_have_text(re.compile(text))


def test_a_page_shows_that_it_is_offline_and_what_is_old(visitor: Visitor, stage: Stage, task_id: int) -> None:
    visitor.expected = (CONNECTION_ERROR,)
    page = visitor.open(f"/tasks/{task_id}")
    expect_state(page, "live", "Live")
    expect(page.locator("#outdated")).to_be_hidden()
    visitor.assert_accessible()

    page.context.set_offline(True)
    expect_state(page, "offline", f"Offline since {CLOCK}")
    expect(page.locator("#outdated")).to_contain_text(re.compile(f"the state at {CLOCK}"))
    visitor.assert_accessible()
    duration = page.locator("#properties .duration")
    stopped = duration.inner_text()
    page.wait_for_timeout(2500)  # a running duration would have grown
    assert duration.inner_text() == stopped

    stage.do(lambda resources: fail(resources, task_id))
    expect(page.locator("#task-header .heading .badge")).to_have_text("Running")
    page.context.set_offline(False)
    expect_state(page, "live", "Live")
    expect(page.locator("#outdated")).to_be_hidden()
    expect(page.locator("#task-header .heading .badge")).to_have_text("Failed")


def test_an_update_that_is_rejected_is_repeated(visitor: Visitor, stage: Stage) -> None:
    """The page showed `Live` and the former state until the next change."""
    visitor.expected = ("Failed to load resource: the server responded with a status of 429",)
    task_id = stage.do(lambda resources: begin(resources, 3))
    page = visitor.open(f"/tasks/{task_id}")
    expect_state(page, "live", "Live")
    page.route(f"**/tasks/{task_id}", lambda route: route.fulfill(status=429))

    stage.do(lambda resources: fail(resources, task_id))
    expect_state(page, "reconnecting", "Reconnecting")
    expect(page.locator("#outdated")).to_be_visible()
    expect(page.locator("#task-header .heading .badge")).to_have_text("Running")

    page.unroute(f"**/tasks/{task_id}")
    expect(page.locator("#task-header .heading .badge")).to_have_text("Failed")
    expect_state(page, "live", "Live")
    expect(page.locator("#outdated")).to_be_hidden()


def test_a_narrow_page_is_not_widened_by_the_state_of_its_connection(visitor: Visitor) -> None:
    visitor.expected = (CONNECTION_ERROR,)
    visitor.page.set_viewport_size({"width": 360, "height": 800})
    page = visitor.open("/tasks")
    expect_state(page, "live", "Live")

    page.context.set_offline(True)
    expect_state(page, "offline", f"Offline since {CLOCK}")

    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_operations_and_links_fail_in_place(visitor: Visitor, stage: Stage) -> None:
    async def failed(resources: Resources) -> int:
        task_id = await sample_tasks.take_over(resources, 2)
        await sample_tasks.advance(resources, task_id, [], resources.workflows[TAKEOVER].roles[0], "It is full.")
        return task_id

    visitor.expected = (CONNECTION_ERROR,)
    page = visitor.open(f"/tasks/{stage.do(failed)}")
    address = page.url
    expect_state(page, "live", "Live")
    page.context.set_offline(True)

    visitor.confirm("#task-retry")
    expect(page.locator(".toast.alert").first).to_contain_text("The service does not respond. Nothing was sent")
    page.locator("nav >> text=Requests").click()
    expect(page.locator(".toast.alert")).to_have_count(2)
    page.locator("#subtasks a").last.click()
    expect(page.locator(".toast.alert")).to_have_count(3)
    assert page.url == address
    expect(page.locator("#task-header .heading .badge")).to_have_text("Failed")

    page.context.set_offline(False)
    expect_state(page, "live", "Live")
    visitor.confirm("#task-retry")
    expect(page.locator(".toast")).to_contain_text(["Retry submitted."])


def test_a_form_keeps_what_was_typed(visitor: Visitor) -> None:
    visitor.expected = (CONNECTION_ERROR,)
    page = visitor.open("/login")
    page.fill("#name", "anne")
    page.fill("#password", "long enough")
    page.context.set_offline(True)

    page.click("button[type=submit].primary")

    expect(page.locator(".toast.alert")).to_contain_text("The service does not respond.")
    expect(page.locator("#name")).to_have_value("anne")
    expect(page.locator("#password")).to_have_value("long enough")


def test_a_page_notices_the_end_of_the_service_and_its_return(
    chromium: Browser, logged_in: StorageState, stage: Stage
) -> None:
    elsewhere = stage.directory / "stopped"
    elsewhere.mkdir()
    with contextlib.ExitStack() as stack:
        with running(elsewhere, stage.inventory, database_url=stage.database_url, worker="false", forked=True) as first:
            port = int(first.url.rpartition(":")[2])
            visitor = stack.enter_context(visiting(chromium, first.url, storage_state=logged_in))
            visitor.expected = (CONNECTION_ERROR,)
            page = visitor.open("/tasks")
            expect_state(page, "live", "Live")
        expect_state(page, "offline", f"Offline since {CLOCK}")
        stack.enter_context(
            running(elsewhere, stage.inventory, port=port, database_url=stage.database_url, worker="false", forked=True)
        )
        expect_state(page, "live", "Live")
