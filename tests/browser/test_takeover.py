"""What people do all day: watch a takeover, find out why one has failed, and go on with it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from service.cli.client import Client
from tests.browser.visitor import Visitor, visiting
from tests.lab import HostSpec, Lab
from tests.lab.host import LabHost
from tests.lab.service import Service

STATES = {"watched": "running", "repaired": "no-nc", "skipped": "no-nc", "undone": "restart-needed", "stuck": "running"}
END = 90_000  # milliseconds that a takeover may take with several beside it


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[dict[str, LabHost]]:
    """A host for each test, by what happens to it."""
    specs = [HostSpec(f"b-{name}", 7000 + n, state) for n, (name, state) in enumerate(STATES.items())]
    started = lab.start_many(specs)
    yield dict(zip(STATES, started, strict=True))
    for host in started:
        host.remove()


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    """A caller of the same service."""
    with service.client() as opened:
        yield opened


def take_over(client: Client, host: LabHost) -> int:
    """Ask for the takeover of a host's proxy; the id of the task instance."""
    [document] = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
    return int(document["id"])


def status(page: Page) -> str:
    """What the page says of the task instance."""
    return page.locator("#head .heading .badge").inner_text().strip()


def ends(page: Page, word: str) -> None:
    """The page comes to say so by itself."""
    expect(page.locator("#head .heading .badge")).to_have_text(word, timeout=END)


def test_log_in_and_watch_a_takeover_to_its_end(
    chromium: Browser, service: Service, client: Client, hosts: dict[str, LabHost]
) -> None:
    with visiting(chromium, service.url) as visitor:
        page = visitor.open("/tasks")
        assert page.url.endswith("/login?next=/tasks")
        visitor.log_in(service.password)
        page.wait_for_url("**/tasks")
        page.evaluate("window.kept = true")

        task_id = take_over(client, hosts["watched"])
        page.get_by_role("row", name=re.compile("b-watched")).get_by_role("link", name="Install obproxy").click()
        page.evaluate("window.kept = true")
        ends(page, "Completed")

        expect(page.locator("#facts progress")).to_have_attribute("value", "12")
        expect(page.locator("#subtasks li.status-SUCCESSFUL")).to_have_count(12)
        assert page.evaluate("window.kept"), "it was never loaded again"
        assert page.url == f"{service.url}/tasks/{task_id}"
        page.get_by_role("link", name="Tasks").first.click()
        expect(page.get_by_role("row", name=re.compile("b-watched"))).to_contain_text("Completed")


def test_why_it_failed_is_read_and_the_task_goes_on_when_that_is_repaired(
    visitor: Visitor, client: Client, hosts: dict[str, LabHost]
) -> None:
    page = visitor.open(f"/tasks/{take_over(client, hosts['repaired'])}")
    ends(page, "Failed")
    expect(page.locator("#log-card h2")).to_have_text("Check if command exists")
    expect(page.locator("#head .why")).to_contain_text("nc")
    expect(page.locator("#log .bad").last).to_contain_text("nc")

    hosts["repaired"].run("ln -s /bin/true /bin/nc")
    visitor.confirm("#task-retry")

    expect(page.locator(".toast")).to_contain_text("It runs again.")
    ends(page, "Completed")
    page.locator("#subtasks a", has_text="Check if command exists").click()
    expect(page.locator(".attempts a")).to_have_count(2)
    page.locator(".attempts a", has_text="EXECUTE").click()
    expect(page.locator("#log .bad").last).to_contain_text("nc")


def test_what_is_no_obstacle_is_skipped(visitor: Visitor, client: Client, hosts: dict[str, LabHost]) -> None:
    page = visitor.open(f"/tasks/{take_over(client, hosts['skipped'])}")
    ends(page, "Failed")

    page.locator("#log-card").get_by_role("button", name="Set to successful").click()
    expect(page.locator("#confirm")).to_contain_text("Nobody checks that it really is done.")
    page.get_by_role("button", name="No, go back").click()
    assert status(page) == "Failed"
    visitor.confirm("#log-head button:has-text('Set to successful')")

    ends(page, "Completed")
    expect(page.locator("#subtasks li", has_text="Check if command exists")).to_contain_text("Skipped")


def test_what_cannot_go_on_is_rolled_back(visitor: Visitor, client: Client, hosts: dict[str, LabHost]) -> None:
    page = visitor.open(f"/tasks/{take_over(client, hosts['undone'])}?view=flow")
    ends(page, "Failed")
    expect(page.locator(".drawing.columns-4 .box.status-FAILED")).to_have_count(1)

    visitor.confirm("#task-rollback")

    ends(page, "Completed")
    expect(page.locator("#head .heading .chip")).to_have_text("Rollback")
    expect(page.locator(".columns-4 .box.status-PENDING")).to_have_count(12)


def test_what_hangs_is_terminated(visitor: Visitor, client: Client, hosts: dict[str, LabHost]) -> None:
    hosts["stuck"].pause()
    try:
        page = visitor.open(f"/tasks/{take_over(client, hosts['stuck'])}")
        visitor.confirm("#log-head .danger")
        expect(page.locator(".toast")).to_contain_text("The end of the run has been asked for.")
        ends(page, "Failed")
        expect(page.locator("#subtasks li").first).to_contain_text("Canceled")
    finally:
        hosts["stuck"].resume()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_for_everybody(
    chromium: Browser, visitor: Visitor, client: Client, theme: str, subtests: pytest.Subtests
) -> None:
    visitor.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    failed = [task["id"] for task in client.tasks(status="FAILED")]
    pages = ["/tasks", f"/tasks/{failed[0]}", f"/tasks/{failed[0]}?view=flow", "/login"]
    for path in pages:
        with subtests.test(path):
            visitor.open(path).wait_for_load_state("networkidle")
            visitor.assert_accessible()
