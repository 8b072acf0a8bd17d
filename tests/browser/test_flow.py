"""The flow of a task instance: moved about, logs opened from it, and what is done from the menus of its boxes."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Ended, Verdict
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from tests.browser.staging import Stage, begin
from tests.browser.visitor import Visitor
from tests.integration import sample_tasks
from tests.lab.service import Service

WIDE = {"width": 1280, "height": 900}
TELEPHONE = {"width": 360, "height": 800}

# Holds the first answer for this page back until it is released.
HOLD = """
() => {
  const plain = window.fetch;
  const address = location.href;
  window.fetch = async (...asked) => {
    const answer = await plain(...asked);
    if (asked[0] === address && !window.release) await new Promise((release) => (window.release = release));
    return answer;
  };
}
"""


@pytest.fixture(scope="module")
def service(stage: Stage) -> Iterator[Service]:
    """A service that shows what is staged, and runs nothing."""
    with stage.served() as started:
        yield started


@pytest.fixture(scope="module")
def task_id(stage: Stage) -> int:
    """A task instance whose first subtask runs."""
    return stage.do(lambda resources: begin(resources, 1))


async def fail(resources: Resources, task_id: int) -> None:
    """Its first subtask fails."""
    role = resources.workflows[TAKEOVER].roles[0]
    ended = Ended(role=role, verdict=Verdict.FAILED, code="TASK_FAILED", message="It does not answer.")
    await Recorder(resources.database, task_id, resources.executor).record([ended])


def subtasks(stage: Stage, task_id: int) -> list[int]:
    """Ids of the subtasks in the order of the DAG."""
    return stage.do(lambda resources: sample_tasks.subtask_ids(resources, task_id))


def menu_button(page: Page, subtask: int) -> Locator:
    """What opens the menu of a subtask's box, in the drawing that this width shows."""
    return page.locator(f"[popovertarget='menu-{subtask}']:visible")


def test_it_is_zoomed_by_wheel_and_buttons_and_dragged(visitor: Visitor, task_id: int) -> None:
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

    visitor.until(scrolls)  # at its end the wheel is the page's again

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


def test_it_is_brought_up_to_date_on_demand(visitor: Visitor, task_id: int) -> None:
    page = visitor.open(f"/tasks/{task_id}?view=flow")
    page.evaluate("window.kept = true")
    page.locator("[data-zoom=in]").click()
    with page.expect_response(lambda answer: answer.url == page.url):
        page.locator("#flow [data-reload]").click()
    expect(page.locator("#flow output")).to_have_text("120 %")
    assert page.evaluate("window.kept"), "it was never loaded again"


@pytest.mark.parametrize("size", [WIDE, TELEPHONE], ids=["wide", "telephone"])
def test_each_box_has_a_menu_for_the_keyboard_and_for_everybody(
    visitor: Visitor, stage: Stage, task_id: int, size: dict[str, int]
) -> None:
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


def test_a_menu_stays_open_and_says_what_may_be_done_now(visitor: Visitor, stage: Stage) -> None:
    task_id = stage.do(lambda resources: begin(resources, 2))
    first = subtasks(stage, task_id)[0]
    page = visitor.open(f"/tasks/{task_id}?view=flow")
    menu_button(page, first).click()
    deeds = page.locator(f"#menu-{first} form")
    expect(deeds).to_have_text(["Terminate"])

    stage.do(lambda resources: fail(resources, task_id))

    expect(deeds).to_have_text(["Rerun", "Set to successful"])
    page.locator(f"#menu-skip-{first}").press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#confirm")).to_be_hidden()
    expect(menu_button(page, first)).to_be_focused()
    menu_button(page, first).press("Enter")
    visitor.confirm(f"#menu-skip-{first}")

    expect(page.locator(".toast")).to_have_text("The subtask was set to successful.")
    expect(page).to_have_url(f"{visitor.url}/tasks/{task_id}?view=flow")
    expect(page.locator(f".columns-4 .box[data-subtask='{first}']")).to_contain_text("Ready")


def test_logs_are_opened_from_the_flow_each_in_a_tab(visitor: Visitor, stage: Stage, task_id: int) -> None:
    first, second = stage.do(lambda resources: sample_tasks.subtask_ids(resources, task_id))[:2]
    page = visitor.open(f"/tasks/{task_id}?view=flow")
    page.evaluate("window.kept = true")
    expect(page.locator(".tab")).to_have_text([re.compile(f"\\({first}\\)")])

    page.locator(f".columns-4 .box[data-subtask='{second}']").click()
    expect(page.locator("#log-card h2")).to_have_text("Prepare create obproxy")
    expect(page.locator(".tab")).to_have_count(2)
    page.locator(".tab.current button").last.click()
    expect(page.locator("#log-card h2")).to_have_text("Prepare obproxy install")
    page.go_back()
    expect(page.locator("#log-card h2")).to_have_text("Prepare create obproxy")
    height = page.locator("#log-card").bounding_box()
    page.locator(".grip").press("ArrowUp")
    higher = page.locator("#log-card").bounding_box()
    page.locator("#collapse").click()
    expect(page.locator("#log-card")).to_be_hidden()

    assert height and higher and higher["height"] > height["height"]
    assert page.evaluate("window.kept"), "it was never loaded again"


def test_an_answer_that_was_overtaken_is_not_shown(visitor: Visitor, stage: Stage, task_id: int) -> None:
    second = stage.do(lambda resources: sample_tasks.subtask_ids(resources, task_id))[1]
    page = visitor.open(f"/tasks/{task_id}?view=flow")
    page.evaluate(HOLD)
    page.evaluate("window.dispatchEvent(new PopStateEvent('popstate'))")
    visitor.until(lambda: page.evaluate("Boolean(window.release)"))

    page.locator(f".columns-4 .box[data-subtask='{second}']").click()
    expect(page.locator("#log-card h2")).to_have_text("Prepare create obproxy")
    page.evaluate("window.release()")
    page.wait_for_timeout(300)

    expect(page.locator("#log-card h2")).to_have_text("Prepare create obproxy")
    expect(page.locator(".tab.current")).to_have_text([re.compile(f"\\({second}\\)")])
