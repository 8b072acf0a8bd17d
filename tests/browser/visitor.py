"""Somebody at a browser: a page of its own, logged in, with everything that went wrong on it remembered."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--disable-component-update", "--no-first-run"),
]
PATIENCE = 30_000  # milliseconds for what a page does by itself, on a machine that is busy with other tests
SERIOUS = ("serious", "critical")
NO_ANSWER = "Failed to load resource: net::ERR_"  # what Chromium says when a service is away

# Notes when each line of the log has come to the screen, by the clock of this machine, its database and its lab hosts.
NOTE = """
window.shown = [];
new MutationObserver((records) => {
  for (const record of records)
    for (const node of record.addedNodes)
      if (node.matches?.(".line")) window.shown.push([node.textContent, Date.now()]);
}).observe(document.getElementById("log"), { childList: true, subtree: true });
"""

expect.set_options(timeout=PATIENCE)


@dataclass(kw_only=True)
class Visitor:
    """Who looks, at `url`. `expected`: how messages on the console begin that belong to the test."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def open(self, path: str) -> Page:
        """The page at `path`, loaded."""
        self.page.goto(self.url + path)
        return self.page

    def log_in(self, password: str, name: str = "admin") -> None:
        """By the form, from wherever one was sent to it."""
        self.page.fill("#name", name)
        self.page.fill("#password", password)
        self.page.click("button[type=submit].primary")

    def confirm(self, button: str) -> None:
        """Press the first such button, and say yes when asked."""
        self.page.locator(button).first.click()
        self.page.locator("#confirm [data-confirm-yes]").click()

    def until[Found](self, look: Callable[[], Found], seconds: float = 60.0) -> Found:
        """The first thing that `look` finds."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, "it did not happen"
            self.page.wait_for_timeout(50)
        return found

    def note_lines(self) -> None:
        """Note from now on when lines of the log come to the screen."""
        self.page.evaluate(NOTE)

    def noted_lines(self) -> list[tuple[str, float]]:
        """The lines that have come since, each with milliseconds since 1970."""
        noted: list[tuple[str, float]] = self.page.evaluate("window.shown")
        return noted

    def assert_accessible(self) -> None:
        """axe finds nothing serious on the page as it is now."""
        found = Axe().run(self.page).response["violations"]
        serious = [violation for violation in found if violation["impact"] in SERIOUS]
        told = [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["failureSummary"]) for v in serious]
        assert not told, f"{self.page.url}: {told}"


@contextmanager
def visiting(chromium: Browser, url: str, **options: object) -> Iterator[Visitor]:
    """A visitor; at the end nothing has gone wrong: no error on the console, no request elsewhere, no dialog."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    visitor = Visitor(page=page, url=url)

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(visitor.expected or "\0"):
            visitor.problems.append(message.text)

    def asked(request: Request) -> None:
        if not request.url.startswith((url, "data:")):
            visitor.problems.append(request.url)

    page.on("console", heard)
    page.on("pageerror", lambda error: visitor.problems.append(str(error)))
    page.on("request", asked)
    page.on("dialog", lambda dialog: visitor.problems.append(dialog.message))
    try:
        yield visitor
        assert visitor.problems == [], visitor.problems
    finally:
        context.close()
