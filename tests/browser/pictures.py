"""Takes screenshots of every page, in both themes, both languages and four widths: `make pictures`.

The task instances are made by functions of the service; no host is needed. Add each new page to PAGES.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from service.store import embedded
from tests.browser.staging import Stage
from tests.browser.visitor import ARGUMENTS, CHROMIUM, visiting
from tests.integration import sample_tasks
from tests.lab import Lab
from tests.lab.service import Service, running

WIDTHS = (360, 768, 1280, 1920)
THEMES = ("light", "dark")
LANGUAGES = ("en-US", "zh-CN")
INVENTORY = """
all:
  hosts: {{}}
  children:
    test:
      vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test, obproxy_start_mode: config_url}}
      hosts:
{}
"""
HOST = "        odp-{n}: {{ansible_host: 192.0.2.{n}, ocp_host_id: {n}}}"
REQUESTED = range(101, 167)
"""Ids of the hosts of the requests of `sample_tasks.fill_requests`."""
PAGES = {
    "login": "/login",
    "tasks": "/tasks",
    "tasks-none": "/tasks?name=nothing",
    "task-done": "/tasks/{done}",
    "task-failed": "/tasks/{failed}",
    "task-failed-rule": "/tasks/{failed_rule}",
    "task-running": "/tasks/{running}",
    "task-canceling": "/tasks/{canceling}",
    "flow-running": "/tasks/{running}?view=flow",
    "flow-rolling-back": "/tasks/{rolling_back}?view=flow",
    "requests": "/requests",
    "request-running": "/requests/{running_request}",
    "request-stopped": "/requests/{stopped_request}",
    "clusters": "/clusters",
    "cluster": "/clusters/1",
    "cluster-parameters": "/clusters/1?view=parameters",
    "takeover": "/clusters/1/takeover",
    "audit": "/audit",
    "missing": "/tasks/999",
    "api": "/docs",
}
"""Address of each page by the name of its screenshots; the ids are those of `sample_tasks`."""
# The browser skips the layout of log lines out of view, but a screenshot of the whole page contains them.
SHOW_ALL_LINES = "document.querySelectorAll('.chunk').forEach((chunk) => (chunk.style.contentVisibility = 'visible'))"
OVERLAYS = {
    "open-tasks": ("/tasks/{done}", ".open-tasks summary"),
    "flow-menu": ("/tasks/{failed}?view=flow", ".box.status-FAILED:visible + foreignObject button"),
    "confirmation": ("/tasks/{failed}", "#task-rollback"),
    "appearance": ("/clusters", ".page-header .menu summary >> nth=0"),
}
"""Menus and dialogs by the name of their screenshots: the address of the page, and the button to press."""


def main(directory: Path) -> None:
    """Write the screenshots into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    Lab.prepare()
    with tempfile.TemporaryDirectory(prefix="pictures-") as name, embedded.running(Path(name) / "pg") as url:
        inventory = Path(name) / "inventory"
        inventory.mkdir()
        hosts = "\n".join(HOST.format(n=n) for n in (*range(1, 9), *REQUESTED))
        (inventory / "hosts.yml").write_text(INVENTORY.format(hosts), encoding="utf-8")
        stage = Stage(database_url=url, directory=Path(name), inventory=inventory)
        with (
            running(stage.directory, inventory, database_url=url, worker="false") as service,
            sync_playwright() as playwright,
        ):
            ids = stage.do(sample_tasks.fill) | stage.do(lambda found: sample_tasks.fill_requests(found, REQUESTED))
            stage.do(lambda found: sample_tasks.fill_parameters(found, [ids["done"], ids["failed"], ids["running"]]))
            chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            for theme, width, language in itertools.product(THEMES, WIDTHS, LANGUAGES):
                take_screenshots(chromium, service, directory, ids, theme, width, language)
            chromium.close()


def take_screenshots(
    chromium: Browser,
    service: Service,
    directory: Path,
    ids: dict[str, int],
    theme: str,
    width: int,
    language: str,
) -> None:
    """Take screenshots of all pages in one theme, width and language."""
    size = {"width": width, "height": 900}
    with visiting(chromium, service.url, viewport=size, color_scheme=theme, locale=language) as visitor:
        visitor.expected = ("Failed to load resource: the server responded with a status of 404",)
        visitor.open("/login")
        visitor.log_in(service.password)
        for name, path in PAGES.items():
            page = visitor.open(path.format(**ids))
            page.wait_for_timeout(300)
            page.evaluate(SHOW_ALL_LINES)
            page.screenshot(path=directory / f"{name}-{theme}-{width}-{language}.png", full_page=width == WIDTHS[0])
        for name, (path, pressed) in OVERLAYS.items():
            page = visitor.open(path.format(**ids))
            page.locator(pressed).click()
            page.wait_for_timeout(300)
            page.screenshot(path=directory / f"{name}-{theme}-{width}-{language}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take screenshots of every page.")
    parser.add_argument("directory", type=Path, help="directory for the screenshots; it is created")
    main(parser.parse_args().directory)
