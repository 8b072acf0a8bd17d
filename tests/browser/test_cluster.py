"""Page of an OBProxy cluster in a browser: operations on its servers, deviating parameters."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from psycopg.types.json import Jsonb

from service.model.workflow import TAKEOVER
from service.tasks import instances
from service.tasks.resources import Resources
from tests.browser.staging import Stage, StagedService
from tests.browser.visitor import Visitor
from tests.integration import sample_tasks

DRIFT = [{"name": "work_thread_num", "expected": "8", "found": "4"}]


@pytest.fixture(scope="module")
def service(stage: Stage) -> Iterator[StagedService]:
    """Start a service on the database of the stage, without a worker."""
    with stage.served() as started:
        yield started


async def manage(resources: Resources, host_id: int) -> int:
    """Take a host over, and return the id of its OBProxy server."""
    task_id = await sample_tasks.take_over(resources, host_id)
    await sample_tasks.advance(resources, task_id, resources.workflows[TAKEOVER].roles)
    task, _ = await instances.get(resources.database, task_id)
    assert task.obproxy_server_id is not None
    return task.obproxy_server_id


@pytest.mark.parametrize(
    ("host_id", "operation", "title"), [(1, "refresh", "Refresh"), (2, "restart", "Restart"), (3, "release", "Release")]
)
def test_a_button_submits_its_workflow(
    visitor: Visitor, stage: Stage, host_id: int, operation: str, title: str
) -> None:
    server = stage.do(lambda resources: manage(resources, host_id))
    page = visitor.open("/clusters/1")
    expect(page.locator(f"#forget-{server}")).to_have_count(0)  # the host is there
    page.locator(f"#{operation}-{server}").click()
    page.keyboard.press("Escape")
    expect(page.locator("#confirm")).to_be_hidden()
    assert page.url.endswith("/clusters/1")
    visitor.assert_accessible()

    visitor.confirm(f"#{operation}-{server}")

    expect(page.locator("h1")).to_have_text(f"{title} of odp-{host_id}")
    expect(page.locator("#task-header .heading .badge")).to_have_text("Queued")


def test_the_server_of_a_host_that_is_gone_is_forgotten(visitor: Visitor, stage: Stage) -> None:
    async def disappear(resources: Resources) -> int:
        async with resources.database.transaction() as connection:
            cursor = await connection.execute(
                "INSERT INTO obproxy_server"
                " (cluster_id, cluster_name, host_id, host_name, ip, sql_port, status, operate_status, learned)"
                " VALUES (1, 'test', 77, 'gone', '192.0.2.77', 2883, 'UNAVAILABLE', 'NORMAL', %s) RETURNING id",
                (Jsonb({"parameter_drift": DRIFT}),),
            )
            (row,) = await cursor.fetchall()
        return int(row["id"])

    server = stage.do(disappear)
    page = visitor.open("/clusters/1")
    expect(page.locator(f"#release-{server}")).to_have_count(0)
    deviation = page.locator("#parameters tr", has_text="work_thread_num")
    for shown in ("8", "4", "gone:2883"):
        expect(deviation).to_contain_text(shown)
    visitor.assert_accessible()

    visitor.confirm(f"#forget-{server}")

    expect(page.locator("h1")).to_have_text("Release of gone")
    expect(page.locator("#subtasks")).to_contain_text("Skipped")
