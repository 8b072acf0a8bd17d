"""A visitor: a browser page that collects its problems, such as errors on the console."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

CHROMIUM = Path(__file__).with_name("chromium_without_netlink.py")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--disable-component-update", "--no-first-run"),
]
TIMEOUT = 30_000  # milliseconds for updates of a page, on a machine that runs other tests
FAILING_IMPACTS = ("serious", "critical")  # of accessibility violations
CONNECTION_ERROR = "Failed to load resource: net::ERR_"  # message of Chromium when a service is not reachable

# Records the time at which each log line is shown. This machine, its database and the lab hosts share a clock.
RECORD_LINES = """
window.shown = [];
new MutationObserver((records) => {
  for (const record of records)
    for (const node of record.addedNodes)
      if (node.matches?.(".line")) window.shown.push([node.textContent, Date.now()]);
}).observe(document.getElementById("log"), { childList: true, subtree: true });
"""

expect.set_options(timeout=TIMEOUT)


@dataclass(kw_only=True)
class Visitor:
    """A browser page at `url`. `expected` holds prefixes of console messages that are no problems."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def open(self, path: str) -> Page:
        """Load the page at `path`."""
        self.page.goto(self.url + path)
        return self.page

    def log_in(self, password: str, name: str = "admin") -> None:
        """Log in through the form on the current page, and wait for the page that follows."""
        self.page.fill("#name", name)
        self.page.fill("#password", password)
        self.page.click("button[type=submit].primary")
        self.page.wait_for_url(lambda url: not url.startswith(f"{self.url}/login"))

    def confirm(self, button: str) -> None:
        """Press the first such button, and confirm the dialog.

        Until its script runs, a page has no dialog, and the service asks on another page.
        """
        self.page.wait_for_load_state("domcontentloaded")
        self.page.locator(button).first.click()
        self.page.locator("#confirm [data-confirm-yes]").click()

    def until[Found](self, find: Callable[[], Found], seconds: float = 60.0) -> Found:
        """Call `find` until its result is true, and return the result."""
        deadline = time.monotonic() + seconds
        while not (found := find()):
            assert time.monotonic() < deadline, "deadline exceeded"
            self.page.wait_for_timeout(50)
        return found

    def record_lines(self) -> None:
        """Record from now on when log lines are shown."""
        self.page.evaluate(RECORD_LINES)

    def recorded_lines(self) -> list[tuple[str, float]]:
        """Return the recorded lines, each with its time in milliseconds since 1970."""
        recorded: list[tuple[str, float]] = self.page.evaluate("window.shown")
        return recorded

    def assert_accessible(self) -> None:
        """Assert that axe finds no serious violation on the page."""
        found = Axe().run(self.page).response["violations"]
        serious = [violation for violation in found if violation["impact"] in FAILING_IMPACTS]
        problems = [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["failureSummary"]) for v in serious]
        assert not problems, f"{self.page.url}: {problems}"


@contextmanager
def visiting(chromium: Browser, url: str, **options: object) -> Iterator[Visitor]:
    """Open a visitor. At the end assert: no console error, no request to another site, no browser dialog."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    visitor = Visitor(page=page, url=url)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(visitor.expected or "\0"):
            visitor.problems.append(message.text)

    def on_request(request: Request) -> None:
        if not request.url.startswith((url, "data:")):
            visitor.problems.append(request.url)

    page.on("console", on_console)
    page.on("pageerror", lambda error: visitor.problems.append(str(error)))
    page.on("request", on_request)
    page.on("dialog", lambda dialog: visitor.problems.append(dialog.message))
    try:
        yield visitor
        assert visitor.problems == [], visitor.problems
    finally:
        context.close()
