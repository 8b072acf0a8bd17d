"""Flow view of a task instance: zoom, drag, opening logs, and the menus of the boxes."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Ended, Verdict
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from tests.browser.staging import Stage, StagedService, begin
from tests.browser.visitor import Visitor
from tests.integration import sample_tasks

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 800}

# Delays the first response for this page until window.release is called.
DELAY_RESPONSE = """
() => {
  const originalFetch = window.fetch;
  const address = location.href;
  window.fetch = async (...request) => {
    const response = await originalFetch(...request);
    if (request[0] === address && !window.release) await new Promise((release) => (window.release = release));
    return response;
  };
}
"""


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
    """Let the first subtask fail."""
    role = resources.workflows[TAKEOVER].roles[0]
    ended = Ended(role=role, verdict=Verdict.FAILED, code="TASK_FAILED", message="It does not answer.")
    await Recorder(resources, task_id).record([ended])


def subtasks(stage: Stage, task_id: int) -> list[int]:
    """Return the ids of the subtasks in the order of the DAG."""
    return stage.do(lambda resources: sample_tasks.subtask_ids(resources, task_id))


def menu_button(page: Page, subtask: int) -> Locator:
    """Return the button that opens the menu of a subtask, in the drawing for the width of the page."""
    return page.locator(f"[popovertarget='menu-{subtask}']:visible")


def test_wheel_and_buttons_zoom_and_the_mouse_drags(visitor: Visitor, task_id: int) -> None:
    visitor.page.set_viewport_size({"width": 1280, "height": 600})
    page = visitor.open(f"/tasks/{task_id}?view=flow")
    percent, canvas = page.locator("#flow output"), page.locator(".canvas")
    expect(percent).to_have_text("100 %")
    for button, shown in (("in", "120 %"), ("one", "100 %"), ("out", "83 %"), ("one", "100 %")):
        page.locator(f"[data-zoom={button}]").click()
        expect(percent).to_have_text(shown)

    place = canvas.bounding_box()
    assert place
    page.mouse.move(place["x"] + 12, place["y"] + 12)
    page.mouse.wheel(0, -100)
    expect(percent).to_have_text("110 %")
    for notch, end in ((-100, "200 %"), (100, "20 %")):
        for _ in range(30):
            page.mouse.wheel(0, notch)
            if percent.inner_text() == end:
                break
        expect(percent).to_have_text(end)
    assert page.evaluate("scrollY") == 0

    def scrolls() -> bool:
        page.mouse.wheel(0, 100)
        return bool(page.evaluate("scrollY") > 0)

    visitor.until(scrolls)  # at the limit of the zoom, the wheel scrolls the page

    page.locator("[data-zoom=one]").click()
    page.locator("[data-zoom=in]").click(click_count=3)
    before = canvas.evaluate("canvas => canvas.scrollLeft = 100")
    place = canvas.bounding_box()
    assert place
    page.mouse.move(place["x"] + 212, place["y"] + 12)
    page.mouse.down()
    page.mouse.move(place["x"] + 152, place["y"] + 12)
    page.mouse.up()
    assert canvas.evaluate("canvas => canvas.scrollLeft") == before + 60


def test_the_reload_button_updates_the_drawing_without_a_page_load(visitor: Visitor, task_id: int) -> None:
    page = visitor.open(f"/tasks/{task_id}?view=flow")
    page.evaluate("window.notReloaded = true")
    page.locator("[data-zoom=in]").click()
    with page.expect_response(lambda answer: answer.url == page.url):
        page.locator("#flow [data-reload]").click()
    expect(page.locator("#flow output")).to_have_text("120 %")
    assert page.evaluate("window.notReloaded"), "the page was reloaded"


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_each_box_has_an_accessible_menu(visitor: Visitor, stage: Stage, task_id: int, size: dict[str, int]) -> None:
    first, second = subtasks(stage, task_id)[:2]
    visitor.page.set_viewport_size(size)  # type: ignore[arg-type]
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.open(f"/tasks/{task_id}?view=flow")
    menu_button(page, first).press("Enter")
    menu = page.locator(f"#menu-{first}")
    expect(menu.locator("a, button")).to_have_text([f"Copy ID {first}", "View log", "Terminate"])
    visitor.assert_accessible()
    place = menu.bounding_box()
    assert place and place["x"] >= 0 and place["x"] + place["width"] <= size["width"]

    page.keyboard.press("Tab")
    expect(page.locator(f"#menu-copy-{first}")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_have_text(f"Copied: {first}")
    assert page.evaluate("navigator.clipboard.readText()") == str(first)
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    expect(menu_button(page, first)).to_be_focused()

    menu_button(page, second).press("Enter")
    expect(page.locator(f"#menu-{second}").locator("a, button")).to_have_text([f"Copy ID {second}", "View log"])
    page.locator(f"#menu-log-{second}").press("Enter")
    expect(page.locator("#log-card h2")).to_have_text("Prepare create obproxy")
    expect(page.locator(f"#menu-{second}")).to_be_hidden()


def test_an_open_menu_is_updated_with_the_legal_operations(visitor: Visitor, stage: Stage) -> None:
    task_id = stage.do(lambda resources: begin(resources, 2))
    first = subtasks(stage, task_id)[0]
    page = visitor.open(f"/tasks/{task_id}?view=flow")
    menu_button(page, first).click()
    operations = page.locator(f"#menu-{first} form")
    expect(operations).to_have_text(["Terminate"])

    stage.do(lambda resources: fail(resources, task_id))

    expect(operations).to_have_text(["Rerun", "Set to successful"])
    page.locator(f"#menu-skip-{first}").press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#confirm")).to_be_hidden()
    expect(menu_button(page, first)).to_be_focused()
    menu_button(page, first).press("Enter")
    visitor.confirm(f"#menu-skip-{first}")

    expect(page.locator(".toast")).to_have_text("Subtask set to successful.")
    expect(page).to_have_url(f"{visitor.url}/tasks/{task_id}?view=flow")
    expect(page.locator(f".columns-4 .box[data-subtask='{first}']")).to_contain_text("Ready")


def test_each_open_log_has_a_tab(visitor: Visitor, stage: Stage, task_id: int) -> None:
    first, second = stage.do(lambda resources: sample_tasks.subtask_ids(resources, task_id))[:2]
    page = visitor.open(f"/tasks/{task_id}?view=flow")
    page.evaluate("window.notReloaded = true")
    expect(page.locator(".tab")).to_have_text([re.compile(f"\\({first}\\)")])

    page.locator(f".columns-4 .box[data-subtask='{second}']").click()
    expect(page.locator("#log-card h2")).to_have_text("Prepare create obproxy")
    expect(page.locator(".tab")).to_have_count(2)
    page.locator(".tab.current button").last.click()
    expect(page.locator("#log-card h2")).to_have_text("Prepare obproxy install")
    page.go_back()
    expect(page.locator("#log-card h2")).to_have_text("Prepare create obproxy")
    height = page.locator("#log-card").bounding_box()
    page.locator(".resize-handle").press("ArrowUp")
    higher = page.locator("#log-card").bounding_box()
    page.locator("#collapse").click()
    expect(page.locator("#log-card")).to_be_hidden()

    assert height and higher and higher["height"] > height["height"]
    assert page.evaluate("window.notReloaded"), "the page was reloaded"


def test_an_outdated_response_is_ignored(visitor: Visitor, stage: Stage, task_id: int) -> None:
    second = stage.do(lambda resources: sample_tasks.subtask_ids(resources, task_id))[1]
    page = visitor.open(f"/tasks/{task_id}?view=flow")
    page.evaluate(DELAY_RESPONSE)
    page.evaluate("window.dispatchEvent(new PopStateEvent('popstate'))")
    visitor.until(lambda: page.evaluate("Boolean(window.release)"))

    page.locator(f".columns-4 .box[data-subtask='{second}']").click()
    expect(page.locator("#log-card h2")).to_have_text("Prepare create obproxy")
    page.evaluate("window.release()")
    page.wait_for_timeout(300)

    expect(page.locator("#log-card h2")).to_have_text("Prepare create obproxy")
    expect(page.locator(".tab.current")).to_have_text([re.compile(f"\\({second}\\)")])
