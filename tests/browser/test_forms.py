"""Takeover form, pages of OBProxy clusters, and audit."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, StorageState, expect

from tests.browser.visitor import Visitor, visiting
from tests.lab import HostSpec, Lab
from tests.lab.host import LabHost
from tests.lab.service import Service

END = 90_000  # milliseconds that a takeover may take
FORM = "/clusters/1/takeover"


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[list[LabHost]]:
    """Start two hosts whose proxies can be taken over."""
    started = lab.start_many([HostSpec(f"form-{n}", 7100 + n, "running") for n in (1, 2)])
    yield started
    for host in started:
        host.remove()


def test_the_form_submits_a_takeover_that_ends_with_a_managed_proxy(visitor: Visitor, hosts: list[LabHost]) -> None:
    page = visitor.open("/clusters")
    page.get_by_role("link", name="Take over test").click()
    row = page.locator("tr", has=page.locator(f"#host-{hosts[0].host_id}"))
    button = page.locator("#takeover button.primary")
    expect(row).to_contain_text("Not managed")
    page.check("[name=allow-restart]")
    expect(button).to_be_disabled()  # the permission alone selects no host
    visitor.assert_accessible()
    page.uncheck("[name=allow-restart]")
    row.locator("[type=number]").fill(str(hosts[0].sql_port))  # input in a row selects its host
    expect(row.locator("[type=checkbox]")).to_be_checked()
    expect(button).to_have_text("Take over (1)")
    button.click()
    page.wait_for_url(re.compile(r"/tasks/\d+"))
    task_id = page.url.rpartition("/")[2]
    expect(page.locator("#task-header .heading .badge")).to_have_text("Completed", timeout=END)

    page = visitor.open("/clusters/1")
    managed = page.locator("tr", has_text=hosts[0].name)
    expect(managed).to_contain_text("Running")
    expect(managed).to_contain_text("4.3.1.0-1")
    expect(managed.get_by_role("link", name=f"#{task_id}")).to_be_visible()
    visitor.assert_accessible()
    page = visitor.open("/audit")
    expect(page.locator("tr", has_text=FORM).first).to_contain_text("303")  # the newest
    visitor.assert_accessible()


def test_a_rejected_form_keeps_its_input(visitor: Visitor, hosts: list[LabHost]) -> None:
    visitor.expected = ("Failed to load resource: the server responded with a status of 400",)
    page = visitor.open(FORM)
    host = hosts[1].host_id
    page.check(f"#host-{host}")
    page.fill(f"[name=port-{host}]", "70000")
    page.locator("#takeover").evaluate("form => form.noValidate = true")
    page.click("#takeover button.primary")
    expect(page.get_by_role("alert")).to_contain_text("at most 65535; it is 70000")
    expect(page.locator(f"#host-{host}")).to_be_checked()
    expect(page.locator(f"[name=port-{host}]")).to_have_value("70000")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_are_accessible_in_chinese(
    chromium: Browser, service: Service, logged_in: StorageState, hosts: list[LabHost], scheme: str
) -> None:
    options = {"viewport": {"width": 360, "height": 800}, "color_scheme": scheme, "locale": "zh-CN"}
    with visiting(chromium, service.url, storage_state=logged_in, **options) as visitor:
        for path in ("/clusters", "/clusters/1", FORM, "/audit"):
            page = visitor.open(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
            expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
            visitor.assert_accessible()
