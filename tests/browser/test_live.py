"""Pages that live: nothing lost, nothing twice, nothing late, whatever happens to the service in between."""

import asyncio
import re
import statistics
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Logged
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from tests.browser.lag import is_soon
from tests.browser.staging import Stage, begin
from tests.browser.visitor import NO_ANSWER, Visitor, visiting
from tests.integration import sample_tasks
from tests.lab.service import Service, running

FRAME = 34  # milliseconds: two frames at sixty a second, in the median while a long log is scrolled …
SLOWER = 2  # … or so many times as long as with a short log, where the machine is busy
MARKUP = "<img src=/nowhere onerror=alert(1)><script>alert(2)</script>&amp;"

# Turns the wheel over a log, a notch each frame, and tells how long each frame took.
SCROLL = """
async () => {
  const log = document.getElementById("log");
  const times = [];
  log.scrollTop = log.scrollHeight / 2;
  let before = await new Promise(requestAnimationFrame);
  for (let notch = 0; notch < 120; notch += 1) {
    log.scrollTop += 120;
    const now = await new Promise(requestAnimationFrame);
    times.push(now - before);
    before = now;
  }
  return times;
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


def say(stage: Stage, task_id: int, lines: list[str], pause: float = 0.0) -> dict[str, float]:
    """The run says `lines`, a row each; when each was written, in milliseconds of the database's clock."""

    async def speak(resources: Resources) -> dict[str, float]:
        role = resources.workflows[TAKEOVER].roles[0]
        recorder = Recorder(resources.database, task_id, resources.executor)
        for line in lines:
            await recorder.record([Logged(role=role, text=line)])
            await asyncio.sleep(pause)
        async with resources.database.transaction() as connection:
            cursor = await connection.execute("SELECT content, extract(epoch FROM time) * 1000 AS at FROM subtask_log")
            return {row["content"]: float(row["at"]) for row in await cursor.fetchall()}

    return stage.do(speak)


def say_at_once(stage: Stage, task_id: int, prefix: str, count: int) -> None:
    """The run has said `count` lines."""

    async def speak(resources: Resources) -> None:
        async with resources.database.transaction() as connection:
            await connection.execute(
                "INSERT INTO subtask_log (subtask_id, run_time, content) SELECT s.id, 1, %s || n"
                " FROM (SELECT min(id) AS id FROM subtask_instance WHERE task_instance_id = %s) s,"
                " generate_series(1, %s) n",
                [prefix, task_id, count],
            )
            await connection.execute("SELECT pg_notify('takeover_task', %s::text)", [task_id])

    stage.do(speak)


def lines_with(page: Page, prefix: str) -> list[str]:
    """The lines of the log that begin so, as they are on the page."""
    found: list[str] = page.evaluate(
        "(prefix) => [...document.querySelectorAll('#log .line')].map((line) => line.textContent)"
        ".filter((text) => text.startsWith(prefix))",
        prefix,
    )
    return found


def is_at_end(page: Page) -> bool:
    """Whether the reader is at the end of the log."""
    gap = page.evaluate(
        "(() => { const l = document.getElementById('log'); return l.scrollHeight - l.clientHeight - l.scrollTop })()"
    )
    return bool(gap < 40)


def test_every_line_is_shown_once_in_order_and_soon(visitor: Visitor, stage: Stage, task_id: int) -> None:
    page = visitor.open(f"/tasks/{task_id}")
    expect(page.locator("#log .line").first).to_be_visible()
    visitor.note_lines()
    said = [f"soon {number}" for number in range(150)]

    rows = say(stage, task_id, said, pause=0.02)
    visitor.until(lambda: len(lines_with(page, "soon ")) >= len(said))

    assert lines_with(page, "soon ") == said
    assert is_soon([(rows[text], at) for text, at in visitor.noted_lines() if text in rows])


def test_a_restart_of_the_service_loses_and_repeats_nothing(
    chromium: Browser, service: Service, logged_in: StorageState, stage: Stage, task_id: int
) -> None:
    """In a service of its own: the module's goes on."""
    elsewhere = stage.directory / "restarted"
    elsewhere.mkdir()
    with running(elsewhere, stage.inventory, database_url=stage.database_url, worker="false") as first:
        port = int(first.url.rpartition(":")[2])
        context = visiting(chromium, first.url, storage_state=logged_in)
        visitor = context.__enter__()
        visitor.expected = (NO_ANSWER,)
        page = visitor.open(f"/tasks/{task_id}")
        page.evaluate("window.kept = true")
        say(stage, task_id, [f"round {number}" for number in range(10)])
        visitor.until(lambda: len(lines_with(page, "round ")) >= 10)
    say(stage, task_id, [f"round {number}" for number in range(10, 20)])
    with running(elsewhere, stage.inventory, port=port, database_url=stage.database_url, worker="false") as second:
        assert second.url == visitor.url
        say(stage, task_id, [f"round {number}" for number in range(20, 30)])
        visitor.until(lambda: len(lines_with(page, "round ")) >= 30)

        assert lines_with(page, "round ") == [f"round {number}" for number in range(30)]
        assert page.evaluate("window.kept"), "it was never loaded again"
        context.__exit__(None, None, None)


def test_markup_in_a_log_stays_text(visitor: Visitor, stage: Stage, task_id: int) -> None:
    page = visitor.open(f"/tasks/{task_id}")
    say(stage, task_id, [MARKUP])

    visitor.until(lambda: lines_with(page, MARKUP))

    assert page.locator("#log img, #log script").count() == 0


def test_a_hundred_thousand_lines_scroll_and_only_who_is_at_their_end_follows(
    visitor: Visitor, stage: Stage, task_id: int
) -> None:
    say_at_once(stage, task_id, "short ", 2_000)
    page = visitor.open(f"/tasks/{task_id}")
    visitor.until(lambda: page.locator("#log .chunk").count() >= 20)
    short = statistics.median(page.evaluate(SCROLL))
    page.locator("#log").press("End")
    say_at_once(stage, task_id, "long ", 98_000)
    visitor.until(lambda: page.locator("#log .chunk").count() >= 1000, seconds=180)
    visitor.until(lambda: is_at_end(page))

    long = statistics.median(page.evaluate(SCROLL))
    page.evaluate("document.getElementById('log').scrollTop = 5000")
    page.wait_for_timeout(100)
    before = page.evaluate("document.getElementById('log').scrollTop")
    say(stage, task_id, ["later 1"])
    visitor.until(lambda: lines_with(page, "later 1"))
    stayed = page.evaluate("document.getElementById('log').scrollTop")
    page.locator("#log").press("End")
    visitor.until(lambda: is_at_end(page))
    say(stage, task_id, ["later 2"])
    visitor.until(lambda: lines_with(page, "later 2"))

    assert long <= max(FRAME, SLOWER * short)
    assert stayed == before
    visitor.until(lambda: is_at_end(page))


def test_what_is_under_way_is_told_on_every_page(visitor: Visitor, stage: Stage, task_id: int) -> None:
    page = visitor.open("/clusters")
    bubble = page.locator(".bubble summary")
    expect(bubble).to_have_text(re.compile("1 Running.*0 Failed", re.S))
    bubble.press("Enter")
    row = page.locator("#bubble-panel tr", has_text="Install obproxy")
    for shown in (str(task_id), "0/12", "Running", "odp-1"):
        expect(row).to_contain_text(shown)
    visitor.assert_accessible()
    page.locator(f"#under-way-{task_id}").focus()

    async def fail(resources: Resources) -> None:
        second = await sample_tasks.take_over(resources, 2)
        await sample_tasks.advance(resources, second, [], resources.workflows[TAKEOVER].roles[0], "It does not answer.")

    stage.do(fail)

    expect(bubble).to_have_text(re.compile("1 Running.*1 Failed", re.S))
    expect(page.locator("#bubble-panel tbody tr")).to_have_count(2)
    expect(page.locator(f"#under-way-{task_id}")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#bubble-panel")).to_be_hidden()
    expect(bubble).to_be_focused()


def test_a_reader_of_chinese_gets_chinese(chromium: Browser, service: Service, task_id: int) -> None:
    with visiting(chromium, service.url, locale="zh-CN") as visitor:
        page = visitor.open(f"/tasks/{task_id}")
        expect(page.get_by_role("heading", name="登录")).to_be_visible()
        visitor.log_in(service.password)
        expect(page.locator("#head .heading .badge")).to_have_text("运行中")
        page.locator(".menu summary[title='外观与语言']").click()
        page.get_by_role("link", name="English").click()
        expect(page.locator("#head .heading .badge")).to_have_text("Running")


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_no_page_is_wider_than_its_window(visitor: Visitor, task_id: int, width: int) -> None:
    visitor.page.set_viewport_size({"width": width, "height": 800})
    for path in ("/tasks", f"/tasks/{task_id}", f"/tasks/{task_id}?view=flow", "/login"):
        page = visitor.open(path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path


def test_the_keyboard_does_everything(visitor: Visitor, task_id: int) -> None:
    page = visitor.open(f"/tasks/{task_id}")
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.id") == "main"

    page.locator(".top .menu summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Dark")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Dark")).to_be_hidden()

    page.locator("#log-full").press("Enter")
    expect(page.locator("#log-card")).to_have_class("card log-card full")
    page.keyboard.press("Escape")
    expect(page.locator("#log-card")).to_have_class("card log-card")

    page.locator("#log-head .danger").press("Enter")
    expect(page.get_by_role("button", name="No, go back")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#confirm")).to_be_hidden()
    expect(page.locator("#head .heading .badge")).to_have_text("Running")
