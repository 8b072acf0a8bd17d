"""The list of task instances in a browser: selection, which live updates keep, long names, search by local times."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from psycopg.types.json import Jsonb

from service.model.workflow import TAKEOVER
from service.store.database import execute, fetch
from service.tasks.resources import Resources
from tests.browser.staging import Stage, StagedService
from tests.browser.visitor import Visitor
from tests.integration import sample_tasks
from tests.integration.test_discoveries import FOUND

LONG = "obproxy-production-zone-{n}.very-long-subdomain.example-internal.test"[:62]
CLUSTER = "payments-and-settlement-production-cluster-of-hangzhou-zone-1"
HOSTS = f"all:\n  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: {CLUSTER}}}\n  hosts:\n" + "".join(
    f"    {LONG.format(n=n)}: {{ansible_host: 192.0.2.{n}, ocp_host_id: {n}}}\n" for n in range(1, 6)
)

OVERLAPPING_CELLS = """
[...document.querySelectorAll(".list tbody tr")].flatMap((row) => {
  const boxes = [...row.cells].map((cell) => [cell.textContent.trim(), cell.getBoundingClientRect()]);
  const overlap = (one, other) =>
    one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
  return boxes.filter(([, one], i) => boxes.some(([, other], j) => i < j && overlap(one, other))).map(([text]) => text);
})
"""


@pytest.fixture(scope="module")
def service(stage: Stage) -> Iterator[StagedService]:
    """Start a service on the database of the stage, without a worker."""
    (stage.inventory / "hosts.yml").write_text(HOSTS, encoding="utf-8")
    with stage.served() as started:
        yield started


async def fail(resources: Resources, host_id: int) -> int:
    """Make a failed task instance."""
    task_id = await sample_tasks.take_over(resources, host_id)
    await sample_tasks.advance(resources, task_id, [], resources.workflows[TAKEOVER].roles[0], "It is full.")
    return task_id


@pytest.fixture(scope="module")
def managed(service: StagedService, stage: Stage) -> None:
    """Take a host over, so that its OBProxy server has operations, and record a discovery of it."""

    async def take_over(resources: Resources) -> None:
        task_id = await sample_tasks.take_over(resources, 4)
        await sample_tasks.advance(resources, task_id, resources.workflows[TAKEOVER].roles)

    async def discover(resources: Resources) -> None:
        rule = {"rule": "Exactly one OBProxy runs.", "found": "2 of them.", "fix": "stop one."}
        obproxies = [FOUND, FOUND | {"sql_port": 2899, "rules": [rule]}]
        result = {"outcome": "DISCOVERED", "message": None, "rules": Jsonb([]), "obproxies": Jsonb(obproxies)}
        async with resources.database.transaction() as connection:
            await execute(connection, "request_host_discoveries", host_ids=[4], requester="admin")
            (row,) = await fetch(connection, "database_time")
            await execute(connection, "record_host_discovery", host_id=4, start_time=row["moment"], **result)

    stage.do(take_over)
    stage.do(discover)


def test_selected_tasks_are_retried_after_a_live_update(visitor: Visitor, stage: Stage) -> None:
    first = stage.do(lambda resources: fail(resources, 1))
    second = stage.do(lambda resources: fail(resources, 2))
    page = visitor.open("/tasks")
    expect(page.locator("#selected-retry button")).to_be_disabled()
    page.check(f"#select-{first}")
    expect(page.locator("#selected-count")).to_have_text("1 selected")

    third = stage.do(lambda resources: fail(resources, 3))  # the list is updated
    expect(page.locator(f"#select-{third}")).to_be_visible()
    expect(page.locator(f"#select-{first}")).to_be_checked()
    expect(page.locator("#selected-count")).to_have_text("1 selected")
    page.check(f"#select-{second}")
    visitor.assert_accessible()
    visitor.confirm("#selected-retry button")

    expect(page.locator(".toast")).to_contain_text("Retry submitted.")
    for task_id, shown in ((first, "Queued"), (second, "Queued"), (third, "Failed")):
        expect(page.locator("tr", has=page.locator(f"#select-{task_id}"))).to_contain_text(shown)


@pytest.mark.parametrize("width", [1280, 1024, 768, 360])
@pytest.mark.parametrize("path", ["/tasks", "/hosts/4", "/clusters/1", "/clusters", "/requests", "/requests/1"])
@pytest.mark.usefixtures("managed")
def test_tables_with_long_names_fit(visitor: Visitor, path: str, width: int) -> None:
    visitor.page.set_viewport_size({"width": width, "height": 900})
    page = visitor.open(path)

    overflow = page.evaluate(
        "[document.documentElement, ...document.querySelectorAll('.scroll')].map((b) => b.scrollWidth - b.clientWidth)"
    )

    assert max(overflow) <= 0
    assert page.evaluate(OVERLAPPING_CELLS) == []
    visitor.assert_accessible()


@pytest.mark.usefixtures("managed")
def test_the_last_discovery_of_a_host_is_accessible(visitor: Visitor) -> None:
    page = visitor.open("/hosts/4")
    page.locator("#discovery summary").click()

    expect(page.locator("#discovery")).to_contain_text("stop one.")
    visitor.assert_accessible()


def test_times_are_searched_in_the_zone_of_the_browser(visitor: Visitor, stage: Stage) -> None:
    stage.do(lambda resources: fail(resources, 5))
    page = visitor.open("/tasks")
    after = page.locator("[data-local-time=startAfter]")
    after.fill("2199-12-31T10:30")
    page.locator(".search button").click()

    expect(page.locator(".empty")).to_contain_text("No matching task.")
    expect(after).to_have_value("2199-12-31T10:30")
