"""Watching, diagnosing, retrying, skipping, rolling back and terminating takeovers in a browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from service.cli.client import Client
from tests.browser.visitor import Visitor, visiting
from tests.lab import HostSpec, Lab
from tests.lab.host import LabHost
from tests.lab.service import Service
from tests.lab.task_documents import ended

STATES = {
    "watched": "running",
    "fixed": "no-nc",
    "skipped": "no-nc",
    "rolled-back": "restart-needed",
    "paused": "running",
    "accessible": "no-nc",
}
TAKEOVER_TIMEOUT = 90_000  # milliseconds, with several takeovers at once


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[dict[str, LabHost]]:
    """Start a host for each test."""
    specs = [HostSpec(f"b-{name}", 7000 + n, state) for n, (name, state) in enumerate(STATES.items())]
    started = lab.start_many(specs)
    yield dict(zip(STATES, started, strict=True))
    for host in started:
        host.remove()


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    """Open a client of the same service."""
    with service.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def failed_task(service: Service, hosts: dict[str, LabHost]) -> int:
    """Return the id of a failed task instance."""
    with service.client() as opened:
        task_id = take_over(opened, hosts["accessible"])
        assert ended(opened, task_id)["status"] == "FAILED"
    return task_id


def take_over(client: Client, host: LabHost) -> int:
    """Submit the takeover of a host, and return the id of the task instance."""
    [document] = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
    return int(document["id"])


def status(page: Page) -> str:
    """Return the status of the task instance on the page."""
    return page.locator("#task-header .heading .badge").inner_text().strip()


def expect_status(page: Page, text: str) -> None:
    """Wait until the page shows this status without a reload."""
    expect(page.locator("#task-header .heading .badge")).to_have_text(text, timeout=TAKEOVER_TIMEOUT)


def test_log_in_and_watch_a_takeover_to_its_end(
    chromium: Browser, service: Service, client: Client, hosts: dict[str, LabHost]
) -> None:
    with visiting(chromium, service.url) as visitor:
        page = visitor.open("/tasks")
        assert page.url.endswith("/login?next=/tasks")
        visitor.log_in(service.password)
        page.evaluate("window.notReloaded = true")

        task_id = take_over(client, hosts["watched"])
        page.get_by_role("row", name=re.compile("b-watched")).get_by_role("link", name="Takeover").click()
        page.wait_for_url(f"**/tasks/{task_id}")  # a script during a navigation fails, or has no end
        page.evaluate("window.notReloaded = true")
        expect_status(page, "Completed")

        expect(page.locator("#properties progress")).to_have_attribute("value", "12")
        expect(page.locator("#subtasks li.status-SUCCESSFUL")).to_have_count(12)
        assert page.evaluate("window.notReloaded"), "the page was reloaded"
        assert page.url == f"{service.url}/tasks/{task_id}"
        page.get_by_role("link", name="Tasks").first.click()
        expect(page.get_by_role("row", name=re.compile("b-watched"))).to_contain_text("Completed")


def test_a_failed_rule_is_shown_and_the_task_is_retried_after_the_fix(
    visitor: Visitor, client: Client, hosts: dict[str, LabHost]
) -> None:
    page = visitor.open(f"/tasks/{take_over(client, hosts['fixed'])}")
    expect_status(page, "Failed")
    expect(page.locator("#log-card h2")).to_have_text("Check if command exists")
    expect(page.locator("#task-header .failed-rule dt")).to_have_text(["Rule", "Found", "Fix"])
    expect(page.locator("#task-header .failure")).to_contain_text("nc")
    expect(page.locator("#log .error-line").last).to_contain_text("nc")

    hosts["fixed"].run("ln -s /bin/true /bin/nc")
    visitor.confirm("#task-retry")

    expect(page.locator(".toast")).to_contain_text("Retry submitted.")
    expect_status(page, "Completed")
    page.locator("#subtasks a", has_text="Check if command exists").click()
    expect(page.locator(".executions a")).to_have_count(2)
    page.locator(".executions a", has_text="EXECUTE").click()
    expect(page.locator("#log .error-line").last).to_contain_text("nc")


def test_a_failed_subtask_is_set_to_successful(visitor: Visitor, client: Client, hosts: dict[str, LabHost]) -> None:
    page = visitor.open(f"/tasks/{take_over(client, hosts['skipped'])}")
    expect_status(page, "Failed")

    page.locator("#log-card").get_by_role("button", name="Set to successful").click()
    expect(page.locator("#confirm")).to_contain_text("treated as successful without a check")
    page.get_by_role("button", name="Cancel").click()
    assert status(page) == "Failed"
    visitor.confirm("#log-head button:has-text('Set to successful')")

    expect_status(page, "Completed")
    expect(page.locator("#subtasks li", has_text="Check if command exists")).to_contain_text("Skipped")


def test_a_failed_task_is_rolled_back_in_the_flow_view(
    visitor: Visitor, client: Client, hosts: dict[str, LabHost]
) -> None:
    page = visitor.open(f"/tasks/{take_over(client, hosts['rolled-back'])}?view=flow")
    expect_status(page, "Failed")
    expect(page.locator(".drawing.columns-4 .box.status-FAILED")).to_have_count(1)

    visitor.confirm("#task-rollback")

    expect_status(page, "Rolled back")
    expect(page.locator(".columns-4 .box:is(.status-ROLLED_BACK, .status-PENDING)")).to_have_count(12)


def test_a_running_subtask_is_terminated(visitor: Visitor, client: Client, hosts: dict[str, LabHost]) -> None:
    hosts["paused"].pause()
    try:
        page = visitor.open(f"/tasks/{take_over(client, hosts['paused'])}")
        visitor.confirm("#log-head .danger")
        expect(page.locator(".toast")).to_contain_text("Termination requested.")
        expect_status(page, "Failed")
        expect(page.locator("#subtasks li").first).to_contain_text("Canceled")
    finally:
        hosts["paused"].resume()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_page_is_accessible(visitor: Visitor, failed_task: int, theme: str, subtests: pytest.Subtests) -> None:
    visitor.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    pages = ["/tasks", f"/tasks/{failed_task}", f"/tasks/{failed_task}?view=flow", "/login"]
    for path in pages:
        with subtests.test(path):
            visitor.open(path).wait_for_load_state("networkidle")
            visitor.assert_accessible()
