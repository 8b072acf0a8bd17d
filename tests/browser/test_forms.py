"""Takeover form, pages of OBProxy clusters, and audit."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import Browser, Locator, Page, StorageState, expect
from psycopg.types.json import Jsonb

from service.model.workflow import TAKEOVER
from service.store.database import execute, fetch
from service.tasks.resources import Resources
from tests.browser.staging import Stage, StagedService, staging
from tests.browser.visitor import Visitor, visiting
from tests.integration import sample_tasks
from tests.integration.test_discoveries import FOUND
from tests.lab import HostSpec, Lab
from tests.lab.host import LabHost
from tests.lab.service import Service

END = 90_000  # milliseconds that a takeover may take
FORM = "/clusters/1/takeover"


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> Iterator[list[LabHost]]:
    """Start hosts whose proxies can be taken over."""
    started = lab.start_many([HostSpec(f"form-{n}", 7100 + n, "running") for n in (1, 2, 3)])
    yield started
    for host in started:
        host.remove()


def row_of(page: Page, host: LabHost | int) -> Locator:
    """Return the row of a host in the form."""
    return page.locator(f"#row-{host if isinstance(host, int) else host.host_id}")


def test_hosts_are_discovered_checked_and_taken_over(visitor: Visitor, hosts: list[LabHost]) -> None:
    page = visitor.open("/clusters")
    page.get_by_role("link", name="Take over test").click()
    row = row_of(page, hosts[0])
    expect(row).to_contain_text("Not discovered")
    expect(page.locator("#select-qualifying")).to_be_disabled()
    page.check("[name=allow-restart]")
    expect(page.locator("#check")).to_be_disabled()  # the permission alone selects no host
    expect(page.locator("#take-over")).to_be_disabled()
    page.uncheck("[name=allow-restart]")

    page.fill("[name=keyword]", hosts[0].name)
    page.click("#discover button")
    expect(row).to_contain_text("Can be taken over", timeout=END)
    expect(row).to_contain_text("port 2883, 4.3.1.0-1, test, obproxyd.sh")
    visitor.assert_accessible()
    page.click("#select-qualifying")
    expect(row.locator("[type=checkbox]")).to_be_checked()
    expect(page.locator("#take-over")).to_have_text("Take over (1)")
    page.click("#check")
    page.wait_for_url(re.compile(r"/requests/\d+"))
    expect(page.locator("#take-over-passed")).to_have_text("Take over the 1 that passed", timeout=END)
    visitor.assert_accessible()
    checked = page.url
    visitor.confirm("#take-over-passed")
    page.wait_for_url(lambda url: "/requests/" in url and not url.startswith(checked))
    expect(page.locator(".heading .badge").first).to_have_text("Completed", timeout=END)

    page = visitor.open("/clusters/1")
    managed = page.locator("#servers tr", has_text=hosts[0].name)
    expect(managed).to_contain_text("Running")
    expect(managed).to_contain_text("4.3.1.0-1")
    visitor.assert_accessible()
    row = row_of(visitor.open(FORM), hosts[0])
    expect(row).to_contain_text("Running port 2883 in test")
    expect(row.locator("[type=checkbox]")).to_be_disabled()
    page = visitor.open("/audit")
    expect(page.locator("tr", has_text=f"{FORM}/check").first).to_contain_text("303")  # the newest
    visitor.assert_accessible()


def test_a_takeover_without_a_check_is_confirmed(visitor: Visitor, hosts: list[LabHost]) -> None:
    page = visitor.open(FORM)
    page.check(f"#host-{hosts[2].host_id}")
    page.click("#take-over")
    expect(page.locator("#confirm h2")).to_have_text("Take over into test? Hosts: 1")
    visitor.assert_accessible()
    page.locator("#confirm").get_by_role("button", name="Cancel").click()
    expect(page.locator(f"#host-{hosts[2].host_id}")).to_be_checked()
    visitor.confirm("#take-over")
    page.wait_for_url(re.compile(r"/tasks/\d+"))
    expect(page.locator("#task-header .heading .badge")).to_have_text("Completed", timeout=END)


def test_enter_in_a_field_submits_nothing(visitor: Visitor, hosts: list[LabHost]) -> None:
    page = visitor.open(FORM)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.method))
    row = row_of(page, hosts[1])
    row.locator("[type=password]").fill("Secret#1")  # input in a row selects its host
    expect(row.locator("[type=checkbox]")).to_be_checked()
    row.locator("[type=password]").press("Enter")
    row.locator("[type=number]").press("Enter")
    page.locator("details.rollout summary").click()
    page.locator("[name=canary]").press("Enter")
    expect(page.locator("#confirm")).to_be_hidden()
    assert "POST" not in requests and page.url.endswith(FORM)


def test_a_failed_submission_keeps_what_was_typed(visitor: Visitor, hosts: list[LabHost]) -> None:
    visitor.expected = ("Failed to load resource: the server responded with a status of 400",)
    page = visitor.open(FORM)
    row = row_of(page, hosts[1])
    row.locator("[type=number]").evaluate("field => field.removeAttribute('max')")
    row.locator("[type=number]").fill("70000")
    row.locator("[type=password]").fill("Secret#1")
    page.click("#check")
    expect(page.get_by_role("alert")).to_contain_text("at most 65535; it is 70000")
    expect(row.locator("[type=checkbox]")).to_be_checked()
    expect(row.locator("[type=number]")).to_have_value("70000")
    expect(row.locator("[type=password]")).to_have_value("Secret#1")
    expect(page.locator("#check")).to_be_enabled()


MANY = 1000


@pytest.fixture(scope="module")
def many(chromium: Browser, postgres: str) -> Iterator[StagedService]:
    """Serve an inventory of a thousand hosts that do not exist, some of them discovered, without a worker."""
    line = "        odp-{n:04}: {{ansible_host: 192.0.2.1, ocp_host_id: {n}}}\n"
    hosts = "".join(line.format(n=n) for n in range(1, MANY + 1))
    head = "all:\n  children:\n    test:\n      vars: {obproxy_cluster_id: 1, obproxy_cluster_name: test}\n"
    with staging(postgres, f"{head}      hosts:\n{hosts}") as stage, stage.served() as service:
        stage.do(fill_discoveries)
        yield service


async def fill_discoveries(resources: Resources) -> None:
    """Record that hosts 100 to 199 can be taken over, that host 200 needs a password, and that 201 is prevented."""
    rule = {"rule": "Exactly one OBProxy runs.", "found": "2 of them.", "fix": "stop one."}
    results = {n: [FOUND | {"login": "cluster"}] for n in range(100, 200)}
    results |= {200: [FOUND], 201: [FOUND | {"rules": [rule]}]}
    async with resources.database.transaction() as connection:
        await execute(connection, "request_host_discoveries", host_ids=list(results), requester="admin")
        (row,) = await fetch(connection, "database_time")
        for host_id, obproxies in results.items():
            result = {"outcome": "DISCOVERED", "message": None, "rules": Jsonb([]), "obproxies": Jsonb(obproxies)}
            await execute(connection, "record_host_discovery", host_id=host_id, start_time=row["moment"], **result)


def test_a_search_among_a_thousand_hosts_keeps_ticks_and_typed_values(chromium: Browser, many: StagedService) -> None:
    with visiting(chromium, many.url) as visitor:
        visitor.open("/login")
        visitor.log_in(many.password)
        page = visitor.open(FORM)
        shown = page.locator("#hosts tr:visible")
        expect(shown).to_have_count(50)
        expect(page.locator("#host-pages")).to_contain_text("50 of 1000")
        expect(page.locator("#take-over")).to_be_in_viewport()
        page.click("#next-hosts")
        expect(shown.first).to_contain_text("odp-0051")
        visitor.assert_accessible()

        page.fill("[name=keyword]", "odp-0007")
        expect(shown).to_have_count(1)
        row_of(page, 7).locator("[type=password]").fill("Secret#1")
        row_of(page, 7).locator("[type=number]").fill("3306")
        page.fill("[name=keyword]", "odp-015")
        expect(shown).to_have_count(10)
        expect(page.locator("#select-qualifying")).to_have_text("Select all that qualify (10)")
        page.click("#select-qualifying")
        expect(page.locator("#take-over")).to_have_text("Take over (11)")
        page.fill("[name=keyword]", "")
        expect(page.locator("#select-qualifying")).to_have_text("Select all that qualify (100)")
        row_of(page, 200).locator("[type=password]").evaluate("field => { field.value = 'Secret#2' }")
        page.click("#select-qualifying")
        expect(page.locator("#take-over")).to_have_text("Take over (102)")
        page.fill("[name=keyword]", "odp-0007")
        expect(row_of(page, 7).locator("[type=password]")).to_have_value("Secret#1")
        expect(row_of(page, 7).locator("[type=checkbox]")).to_be_checked()
        page.fill("[name=keyword]", "odp-0201")
        expect(shown).to_contain_text("Cannot be taken over")
        shown.locator("summary").click()
        expect(shown.locator("dl")).to_contain_text("stop one.")
        expect(shown.locator("[type=checkbox]")).not_to_be_checked()

        with page.expect_request(lambda request: request.method == "POST") as sent:
            page.click("#check")
        fields = parse_qs(sent.value.post_data or "")
        assert len([name for name in fields if name.startswith("port-")]) == 102, (
            "no field of a host that is not selected"
        )
        assert (fields["port-7"], fields["password-7"]) == (["3306"], ["Secret#1"])
        page.wait_for_url(re.compile(r"/requests/\d+"))


async def discovered_at(resources: Resources, host_id: int, sql_port: int) -> None:
    """Record that an OBProxy was found on a host, at a port."""
    async with resources.database.transaction() as connection:
        await execute(connection, "request_host_discoveries", host_ids=[host_id], requester="admin")
        (row,) = await fetch(connection, "database_time")
        found = Jsonb([FOUND | {"login": "cluster", "sql_port": sql_port}])
        result = {"outcome": "DISCOVERED", "message": None, "rules": Jsonb([]), "obproxies": found}
        await execute(connection, "record_host_discovery", host_id=host_id, start_time=row["moment"], **result)


def test_an_open_form_follows_tasks_and_discoveries_and_keeps_the_ports_that_were_typed(
    chromium: Browser, stage: Stage
) -> None:
    with stage.served() as service, visiting(chromium, service.url) as visitor:
        visitor.open("/login")
        visitor.log_in(service.password)
        page = visitor.open(FORM)
        row_of(page, 1).locator("[type=checkbox]").check()
        typed, proposed = (row_of(page, number).locator("[type=number]") for number in (1, 2))
        typed.fill("3306")
        typed.fill("2883")  # as it was proposed

        async def discover(resources: Resources) -> None:
            for host_id in (1, 2):
                await discovered_at(resources, host_id, 2884)

        stage.do(discover)
        expect(proposed).to_have_value("2884")
        expect(row_of(page, 1)).to_contain_text("port 2884")
        expect(typed).to_have_value("2883")

        task_id = stage.do(lambda resources: sample_tasks.take_over(resources, 1))
        expect(row_of(page, 1).locator("[type=checkbox]")).to_be_disabled()
        expect(row_of(page, 1)).to_contain_text("Queued")
        expect(page.locator("#take-over")).to_be_disabled()

        async def fail(resources: Resources) -> None:
            role = resources.workflows[TAKEOVER].roles[0]
            await sample_tasks.advance(resources, task_id, [], role, "It is full.")

        stage.do(fail)
        expect(row_of(page, 1).locator("[type=checkbox]")).to_be_enabled()
        expect(typed).to_have_value("2883")


def test_the_port_of_an_address_stays_after_a_discovery(chromium: Browser, stage: Stage) -> None:
    with stage.served() as service, visiting(chromium, service.url) as visitor:
        visitor.open("/login")
        visitor.log_in(service.password)
        page = visitor.open(f"{FORM}?host-3=on&port-3=3306")
        expect(row_of(page, 3).locator("[type=number]")).to_have_value("3306")

        stage.do(lambda resources: discovered_at(resources, 3, 2885))

        expect(row_of(page, 3)).to_contain_text("port 2885")
        expect(row_of(page, 3).locator("[type=number]")).to_have_value("3306")


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
