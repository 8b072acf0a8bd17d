"""Live updates: each log line is shown once and in time, also after a restart of the service."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from service.model.workflow import TAKEOVER
from service.outcome.run_progress import Ended, Logged, Verdict
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from tests.browser.lag import lag_is_small
from tests.browser.staging import Stage, StagedService, begin
from tests.browser.visitor import CONNECTION_ERROR, Visitor, visiting
from tests.integration import sample_tasks
from tests.lab.service import running

SHORT, LONG = 20, 1000  # blocks of 100 lines
MARKUP = "<img src=/nowhere onerror=alert(1)><script>alert(2)</script>&amp;"

# Scrolls the log by 120 pixels per frame and returns the largest number of blocks that were laid out in a frame.
COUNT_BLOCKS = """
async () => {
  const log = document.getElementById("log");
  const isLaidOut = (line) => line.checkVisibility({ contentVisibilityAuto: true });
  log.scrollTop = log.scrollHeight / 2;
  let largest = 0;
  for (let notch = 0; notch < 120; notch += 1) {
    await new Promise(requestAnimationFrame);
    const blocks = [...log.querySelectorAll(".chunk > :first-child")].filter(isLaidOut);
    largest = Math.max(largest, blocks.length);
    log.scrollTop += 120;
  }
  return largest;
}
"""


# Both resolve after the scroll event, which comes before a frame is drawn.
SCROLL_UP = """
async () => {
  document.getElementById("log").scrollTop = 5000;
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
}
"""
# The browser does not scroll for a key event that a script makes.
END_KEY = "document.getElementById('log').dispatchEvent(new KeyboardEvent('keydown', { key: 'End' }))"
GROW_DURING_A_SCROLL_TO_THE_END = """
async () => {
  const log = document.getElementById("log");
  log.scrollTop -= 20;
  await new Promise(requestAnimationFrame);
  log.scrollTop = log.scrollHeight;
  log.append(Object.assign(document.createElement("div"), { style: "height: 500px" }));
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
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


@pytest.fixture
def long_task_id(stage: Stage) -> Iterator[int]:
    """Provide a task instance for a long log, which would slow down each page of the shared one; end it afterwards."""
    task_id = stage.do(lambda resources: begin(resources, 3))
    yield task_id

    async def end(resources: Resources) -> None:
        running, *others = resources.workflows[TAKEOVER].roles
        ended = Ended(role=running, verdict=Verdict.SUCCESSFUL, code="", message="")
        await Recorder(resources, task_id).record([ended])
        await sample_tasks.advance(resources, task_id, others)

    stage.do(end)


def write_lines(stage: Stage, task_id: int, lines: list[str], pause: float = 0.0) -> dict[str, float]:
    """Append `lines` to the log, one row each. Return the time of each row, in milliseconds of the database's clock."""

    async def write(resources: Resources) -> dict[str, float]:
        role = resources.workflows[TAKEOVER].roles[0]
        recorder = Recorder(resources, task_id)
        for line in lines:
            await recorder.record([Logged(role=role, text=line)])
            await asyncio.sleep(pause)
        async with resources.database.transaction() as connection:
            cursor = await connection.execute("SELECT content, extract(epoch FROM time) * 1000 AS at FROM subtask_log")
            return {row["content"]: float(row["at"]) for row in await cursor.fetchall()}

    return stage.do(write)


def write_many_lines(stage: Stage, task_id: int, prefix: str, count: int) -> None:
    """Append `count` lines to the log in one transaction."""

    async def write(resources: Resources) -> None:
        async with resources.database.transaction() as connection:
            await connection.execute(
                "INSERT INTO subtask_log (subtask_id, run_time, content) SELECT s.id, 1, %s || n"
                " FROM (SELECT min(id) AS id FROM subtask_instance WHERE task_instance_id = %s) s,"
                " generate_series(1, %s) n",
                [prefix, task_id, count],
            )
            await connection.execute("SELECT pg_notify('takeover_task', %s::text)", [task_id])

    stage.do(write)


def lines_with(page: Page, prefix: str) -> list[str]:
    """Return the log lines on the page that start with `prefix`."""
    found: list[str] = page.evaluate(
        "(prefix) => [...document.querySelectorAll('#log .line')].map((line) => line.textContent)"
        ".filter((text) => text.startsWith(prefix))",
        prefix,
    )
    return found


def block_count(page: Page) -> int:
    """Return the number of blocks in the log."""
    count: int = page.evaluate("document.getElementsByClassName('chunk').length")
    return count


def last_line(page: Page) -> str:
    """Return the last line of the log, which is cheaper than all lines."""
    text: str = page.evaluate("[...document.getElementsByClassName('chunk')].at(-1).lastElementChild.textContent")
    return text


def is_at_end(page: Page) -> bool:
    """Return whether the log is scrolled to its end."""
    gap = page.evaluate(
        "(() => { const l = document.getElementById('log'); return l.scrollHeight - l.clientHeight - l.scrollTop })()"
    )
    return bool(gap < 40)


def test_each_line_is_shown_once_in_order_with_small_lag(visitor: Visitor, stage: Stage, task_id: int) -> None:
    page = visitor.open(f"/tasks/{task_id}")
    expect(page.locator("#log .line").first).to_be_visible()
    visitor.record_lines()
    lines = [f"soon {number}" for number in range(150)]

    rows = write_lines(stage, task_id, lines, pause=0.02)
    visitor.until(lambda: len(lines_with(page, "soon ")) >= len(lines))

    assert lines_with(page, "soon ") == lines
    assert lag_is_small([(rows[text], at) for text, at in visitor.recorded_lines() if text in rows])


def test_a_restart_of_the_service_neither_loses_nor_repeats_lines(
    chromium: Browser, service: StagedService, logged_in: StorageState, stage: Stage, task_id: int
) -> None:
    """Uses its own service, because the other tests share one."""
    elsewhere = stage.directory / "restarted"
    elsewhere.mkdir()
    with running(elsewhere, stage.inventory, database_url=stage.database_url, worker="false", forked=True) as first:
        port = int(first.url.rpartition(":")[2])
        context = visiting(chromium, first.url, storage_state=logged_in)
        visitor = context.__enter__()
        visitor.expected = (CONNECTION_ERROR,)
        page = visitor.open(f"/tasks/{task_id}")
        page.evaluate("window.notReloaded = true")
        write_lines(stage, task_id, [f"round {number}" for number in range(10)])
        visitor.until(lambda: len(lines_with(page, "round ")) >= 10)
    write_lines(stage, task_id, [f"round {number}" for number in range(10, 20)])
    with running(
        elsewhere, stage.inventory, port=port, database_url=stage.database_url, worker="false", forked=True
    ) as second:
        assert second.url == visitor.url
        write_lines(stage, task_id, [f"round {number}" for number in range(20, 30)])
        visitor.until(lambda: len(lines_with(page, "round ")) >= 30)

        assert lines_with(page, "round ") == [f"round {number}" for number in range(30)]
        assert page.evaluate("window.notReloaded"), "the page was reloaded"
        context.__exit__(None, None, None)


def test_markup_in_a_log_is_escaped(visitor: Visitor, stage: Stage, task_id: int) -> None:
    page = visitor.open(f"/tasks/{task_id}")
    write_lines(stage, task_id, [MARKUP])

    visitor.until(lambda: lines_with(page, MARKUP))

    assert page.locator("#log img, #log script").count() == 0


def test_a_log_of_100000_lines_scrolls_and_follows_only_at_its_end(
    visitor: Visitor, stage: Stage, long_task_id: int
) -> None:
    write_many_lines(stage, long_task_id, "short ", 2_000)
    page = visitor.open(f"/tasks/{long_task_id}")
    visitor.until(lambda: block_count(page) >= SHORT)
    short = page.evaluate(COUNT_BLOCKS)
    page.locator("#log").press("End")
    visitor.until(lambda: is_at_end(page))
    write_many_lines(stage, long_task_id, "long ", 98_000)
    visitor.until(lambda: block_count(page) >= LONG, seconds=180)
    visitor.until(lambda: is_at_end(page))

    long = page.evaluate(COUNT_BLOCKS)
    print(f"blocks laid out: {short} of {SHORT}, {long} of {LONG}")
    page.evaluate(SCROLL_UP)
    before = page.evaluate("document.getElementById('log').scrollTop")
    write_lines(stage, long_task_id, ["later 1"])
    visitor.until(lambda: last_line(page) == "later 1")
    stayed = page.evaluate("document.getElementById('log').scrollTop")
    page.locator("#log").press("End")
    visitor.until(lambda: is_at_end(page))
    write_lines(stage, long_task_id, ["later 2"])
    visitor.until(lambda: last_line(page) == "later 2")

    assert 0 < short < SHORT
    assert 0 < long <= 2 * short
    assert stayed == before
    visitor.until(lambda: is_at_end(page))


def test_a_log_that_grows_during_a_scroll_to_its_end_is_followed(visitor: Visitor, stage: Stage, task_id: int) -> None:
    write_many_lines(stage, task_id, "full ", 100)
    page = visitor.open(f"/tasks/{task_id}")
    visitor.until(lambda: len(lines_with(page, "full ")) >= 100 and is_at_end(page))
    page.evaluate(GROW_DURING_A_SCROLL_TO_THE_END)

    write_lines(stage, task_id, ["after growth"])
    visitor.until(lambda: last_line(page) == "after growth")

    visitor.until(lambda: is_at_end(page), seconds=10)


def test_the_end_key_follows_a_log_whose_end_moves(visitor: Visitor, stage: Stage, task_id: int) -> None:
    """The key reaches the end without the browser's own scrolling, which stops where the end was before."""
    write_many_lines(stage, task_id, "before ", 2_000)
    page = visitor.open(f"/tasks/{task_id}")
    visitor.until(lambda: block_count(page) >= SHORT and is_at_end(page))
    page.evaluate(SCROLL_UP)
    assert not is_at_end(page)

    page.evaluate(END_KEY)
    visitor.until(lambda: is_at_end(page))
    write_lines(stage, task_id, ["after the key"])

    visitor.until(lambda: last_line(page) == "after the key")
    visitor.until(lambda: is_at_end(page))


def test_each_page_shows_the_open_tasks(visitor: Visitor, stage: Stage, task_id: int) -> None:
    page = visitor.open("/clusters")
    open_tasks = page.locator(".open-tasks summary")
    expect(open_tasks).to_have_text(re.compile("1 Running.*0 Failed", re.S))
    open_tasks.press("Enter")
    row = page.locator("#open-tasks-panel tr", has_text="Takeover")
    for shown in (str(task_id), "0/12", "Running", "odp-1"):
        expect(row).to_contain_text(shown)
    visitor.assert_accessible()
    page.locator(f"#open-task-{task_id}").focus()

    async def fail(resources: Resources) -> None:
        second = await sample_tasks.take_over(resources, 2)
        await sample_tasks.advance(resources, second, [], resources.workflows[TAKEOVER].roles[0], "It does not answer.")

    stage.do(fail)

    expect(open_tasks).to_have_text(re.compile("1 Running.*1 Failed", re.S))
    expect(page.locator("#open-tasks-panel tbody tr")).to_have_count(2)
    expect(page.locator(f"#open-task-{task_id}")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#open-tasks-panel")).to_be_hidden()
    expect(open_tasks).to_be_focused()


def test_a_chinese_browser_gets_chinese_pages(chromium: Browser, service: StagedService, task_id: int) -> None:
    with visiting(chromium, service.url, locale="zh-CN") as visitor:
        page = visitor.open(f"/tasks/{task_id}")
        expect(page.get_by_role("heading", name="登录")).to_be_visible()
        visitor.log_in(service.password)
        expect(page.locator("#task-header .heading .badge")).to_have_text("运行中")
        page.locator(".menu summary[title='外观与语言']").click()
        page.get_by_role("link", name="English").click()
        expect(page.locator("#task-header .heading .badge")).to_have_text("Running")


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_no_page_is_wider_than_its_window(visitor: Visitor, task_id: int, width: int) -> None:
    visitor.page.set_viewport_size({"width": width, "height": 800})
    for path in ("/tasks", f"/tasks/{task_id}", f"/tasks/{task_id}?view=flow", "/login"):
        page = visitor.open(path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path


def test_pages_can_be_used_by_keyboard(visitor: Visitor, task_id: int) -> None:
    page = visitor.open(f"/tasks/{task_id}")
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.className") == "skip-link"
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.id") == "main"

    page.locator(".menu summary[title='Appearance and language']").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Dark")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Dark")).to_be_hidden()

    page.locator("#log-full-screen").press("Enter")
    expect(page.locator("#log-card")).to_have_class("card log-card full-screen")
    page.keyboard.press("Escape")
    expect(page.locator("#log-card")).to_have_class("card log-card")

    page.locator("#log-head .danger").press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#confirm")).to_be_hidden()
    expect(page.locator("#task-header .heading .badge")).to_have_text("Running")
