"""Page of a request in a browser: live updates of its hosts, operations on all of them, narrow screens."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Route, StorageState, expect

from service.model.rollout import Rollout
from service.model.workflow import TAKEOVER
from service.tasks.resources import Resources
from tests.browser.staging import Stage, StagedService
from tests.browser.visitor import Visitor, visiting
from tests.integration import sample_tasks

INVENTORY = "all:\n  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test}}\n  hosts:\n{}"
HOST = "    odp-{n}: {{ansible_host: 192.0.2.{n}, ocp_host_id: {n}}}\n"
HOSTS = range(1, 67)
LIVE = range(101, 104)
PRESSED = range(111, 114)
SELECTED = range(121, 123)
PRESS_LIMIT = "PRESS_LIMIT = 3000"  # in live_updates.js
# At once: a live update replaces the elements.
LINES_OF_NUMBERS = """[...document.querySelectorAll(".state-count .number")].map((element) => {
  const range = document.createRange()
  range.selectNodeContents(element)
  return range.getClientRects().length
})"""


@pytest.fixture(scope="module")
def service(stage: Stage) -> Iterator[StagedService]:
    """Start a service on the database of the stage, without a worker."""
    hosts = "".join(HOST.format(n=n) for n in (*HOSTS, *LIVE, *PRESSED, *SELECTED))
    (stage.inventory / "hosts.yml").write_text(INVENTORY.format(hosts), encoding="utf-8")
    with stage.served() as started:
        yield started


@pytest.fixture(scope="module")
def ids(stage: Stage, service: StagedService) -> dict[str, int]:
    """Make a large request that is running and a small one that was stopped."""
    return stage.do(lambda resources: sample_tasks.fill_requests(resources, HOSTS))


def test_a_page_follows_its_hosts_and_cancels_and_retries_all(visitor: Visitor, stage: Stage) -> None:
    async def submit(resources: Resources) -> list[int]:
        return await sample_tasks.submit_request(resources, LIVE, Rollout(canary=1))

    canary, second, _ = stage.do(submit)
    with_request = visitor.open(f"/tasks/{canary}")
    with_request.click("#request")
    page = visitor.page
    tile = page.locator(f"#host-{second}")
    expect(tile).to_have_class("status-WAITING")

    async def fail(resources: Resources) -> None:
        role = resources.workflows[TAKEOVER].roles[0]
        await sample_tasks.advance(resources, canary, [], role, "It does not answer.")

    stage.do(fail)
    expect(tile).to_have_class("status-NOT_STARTED")
    expect(page.locator("#request-header .badge")).to_have_text("Stopped")
    expect(page.locator("#failures h3")).to_contain_text("1 host failed at “Prepare obproxy install”")
    visitor.assert_accessible()

    visitor.confirm("#request-retry")
    expect(page.locator(".toast")).to_contain_text("Retry submitted.")
    expect(tile).to_have_class("status-WAITING")
    expect(page.locator("#failures h3")).to_have_count(0)
    visitor.confirm("#request-cancel")
    expect(tile).to_have_class("status-FAILED")
    expect(page.locator("#request-header .badge")).to_have_text("Failed")
    tile.click()
    expect(page).to_have_url(f"{visitor.url}/tasks/{second}")


def test_the_hosts_of_selected_requests_are_retried(visitor: Visitor, stage: Stage) -> None:
    async def fail(resources: Resources) -> None:
        for host_id in SELECTED:
            (task_id,) = await sample_tasks.submit_request(resources, [host_id])
            await sample_tasks.advance(resources, task_id, [], resources.workflows[TAKEOVER].roles[0], "It is full.")

    stage.do(fail)
    page = visitor.open("/requests")
    page.locator(".segments a", has_text="Failed").click()
    page.fill("[name=hostName]", f"odp-{SELECTED[0]}")
    page.locator(".search button").click()
    page.check("[data-select=requests]")
    expect(page.locator("#selected-count")).to_have_text("1 selected")
    visitor.assert_accessible()
    visitor.confirm("#selected-retry button")

    expect(page.locator(".toast")).to_contain_text("Retry submitted.")
    expect(page.locator(".empty")).to_contain_text("No matching request.")
    page.locator(".segments a", has_text="Running").click()
    expect(page.locator("[data-select=requests]")).to_have_count(1)


def test_a_live_update_takes_no_click_away(visitor: Visitor, stage: Stage) -> None:
    """The part with the button is replaced after the release, not between press and release."""

    async def submit(resources: Resources) -> list[int]:
        return await sample_tasks.submit_request(resources, PRESSED, Rollout(canary=1))

    async def fail(resources: Resources) -> None:
        role = resources.workflows[TAKEOVER].roles[0]
        await sample_tasks.advance(resources, canary, [], role, "It does not answer.")

    def without_limit(route: Route) -> None:
        """Let a press delay a replacement for as long as this machine takes; for users, three seconds are enough."""
        answer = route.fetch()
        text = answer.text()
        assert PRESS_LIMIT in text
        route.fulfill(response=answer, body=text.replace(PRESS_LIMIT, "PRESS_LIMIT = 300_000"))

    canary, *_ = stage.do(submit)
    visitor.page.route("**/live_updates.js*", without_limit)
    page = visitor.open(f"/tasks/{canary}")
    page.click("#request")
    page.wait_for_url("**/requests/*")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.locator("#request-cancel").hover()
    page.mouse.down()
    with page.expect_response(lambda response: response.url == page.url) as fetched:
        stage.do(fail)
    fetched.value.finished()
    page.evaluate("() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    page.mouse.up()

    expect(page.locator("#confirm")).to_be_visible()
    expect(page.locator("#request-header .badge")).to_have_text("Stopped")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "language"), [(360, "zh-CN"), (1280, "en")])
def test_pages_fit_and_are_accessible(
    chromium: Browser,
    service: StagedService,
    logged_in: StorageState,
    ids: dict[str, int],
    scheme: str,
    width: int,
    language: str,
) -> None:
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme, "locale": language}
    with visiting(chromium, service.url, storage_state=logged_in, **options) as visitor:
        paths = ("/requests", *(f"/requests/{request_id}" for request_id in ids.values()), "/clusters/1/takeover")
        for path in paths:
            page = visitor.open(path)
            if path.endswith("/takeover"):
                page.locator(".rollout summary").click()
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            expect(page.locator("html")).to_have_attribute("lang", language)
            visitor.assert_accessible()


@pytest.mark.usefixtures("ids")
def test_no_number_breaks_over_lines(visitor: Visitor) -> None:
    visitor.page.set_viewport_size({"width": 768, "height": 900})
    page = visitor.open("/requests")

    assert set(page.evaluate(LINES_OF_NUMBERS)) == {1}
