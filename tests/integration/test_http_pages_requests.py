"""Pages of requests: list, hosts, failures by reason, operations on all hosts, and the links to them."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from service.access import users
from service.access.roles import Role
from service.model.changes import HostChange
from service.model.rollout import Rollout
from service.model.workflow import PRECHECK, TAKEOVER
from service.outcome.run_progress import Change, Changed, Ended, Started, Verdict
from service.outcome.verdict import Code
from service.tasks import submit
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest
from tests.integration.sample_tasks import FAILED_RULES, advance, fill_requests, submit_request
from tests.integration.users import ADMIN

PAGE = {"Accept": "text/html"}
TOKEN = re.compile(r'name="form_token" value="([0-9a-f]{64})"')
HOSTS = range(1, 67)


@pytest.fixture(autouse=True)
def inventory(inventory_file: Any) -> None:
    """Hosts that may be taken over."""
    hosts = "".join(f"    odp-{n}: {{ansible_host: 192.0.2.{n}, ocp_host_id: {n}}}\n" for n in HOSTS)
    inventory_file.write_text(f"all:\n  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test}}\n  hosts:\n{hosts}")


@pytest.fixture
async def browser(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Open a browser in which an administrator is logged in."""
    await users.add(app.state.resources.database, "anne", "long enough", [Role.ADMIN])
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", headers=PAGE) as http:
        await http.post("/login", data={"name": "anne", "password": "long enough"})
        yield http


async def send(browser: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    """Send a form with the CSRF token of the session."""
    found = TOKEN.search((await browser.get("/tasks")).text)
    assert found
    return await browser.post(path, data={"form_token": found[1], **fields})


def text(page: str) -> str:
    """Return the text of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def part(page: str, part_id: str) -> str:
    """Return the page from the element with this id to the next live part."""
    return page.partition(f'id="{part_id}"')[2].partition(" data-live>")[2].partition(" data-live>")[0]


async def test_a_request_shows_every_host_with_its_state(browser: httpx.AsyncClient, resources: Resources) -> None:
    found = await fill_requests(resources, HOSTS)

    page = (await browser.get(f"/requests/{found['running_request']}")).text

    labels = re.findall(r'aria-label="(odp-\d+): ([^"·]*)[^"]*"', page)
    states = [state.strip() for _, state in labels]
    assert [name for name, _ in labels] == [f"odp-{n}" for n in HOSTS[6:]], "in the order of the call"
    assert {state: states.count(state) for state in states} == {
        "Completed": 17, "Failed": 3, "Running": 10, "Queued": 10, "Waiting for its batch": 20
    }  # fmt: skip
    grid = part(page, "hosts").split("</section>")[0]
    assert len(set(re.findall(r'<svg class="icon status-\w+"[^>]*>(.*?)</svg>', grid))) == 5, "shapes"
    assert "20/60" in page and "batches of 20 hosts, at most 5 failures" in text(page)
    assert "2 hosts failed at “Sync obproxy parameter”" in text(page)
    assert "Cancel all" in page and "Roll back all" in page and "Retry all" in page


async def test_a_stopped_request_says_how_it_goes_on(browser: httpx.AsyncClient, resources: Resources) -> None:
    found = await fill_requests(resources, HOSTS)

    page = text((await browser.get(f"/requests/{found['stopped_request']}")).text)

    assert "3 hosts are not started: more hosts have failed than the limit allows (0)." in page
    assert "odp-6 : Not started" in page, "names are shown when there are few hosts"
    assert "Rule No parameter that acts only after a restart differs, unless a restart is permitted." in page
    assert "first 1 host, batches of 2 hosts, at most 0 failures" in page


async def test_retry_all_starts_the_failed_hosts(browser: httpx.AsyncClient, resources: Resources) -> None:
    found = await fill_requests(resources, HOSTS)
    path = f"/requests/{found['stopped_request']}"

    answer = await send(browser, f"{path}/retry")

    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=retry")
    page = text((await browser.get(answer.headers["location"])).text)
    assert "Retry submitted." in page and "not started" not in page and "odp-2 : Queued" in page


async def test_hosts_that_do_not_allow_an_operation_are_named(browser: httpx.AsyncClient, resources: Resources) -> None:
    failed, _, _ = await submit_request(resources, (1, 2, 3))
    await advance(resources, failed, [], resources.workflows[TAKEOVER].roles[0], FAILED_RULES)
    await submit_request(resources, (1,))

    answer = await send(browser, "/requests/1/retry")

    page = text(answer.text)
    assert answer.status_code == 200
    assert "1 host does not allow this operation: odp-1 : Task instance 1 is superseded: use task instance 4" in page
    assert "odp-2 : Task instance" not in page, "that a running host cannot be retried is no problem"
    assert 'data-canonical-address="/requests/1"' in answer.text


async def test_cancel_all_ends_the_hosts_that_wait(browser: httpx.AsyncClient, resources: Resources) -> None:
    await submit_request(resources, (1, 2, 3), Rollout(canary=1))

    answer = await send(browser, "/requests/1/cancel")

    page = text((await browser.get(answer.headers["location"])).text)
    assert "3 hosts failed at “Prepare obproxy install” CANCELED: The request was canceled" in page
    assert "Cancel all" not in page


async def test_the_changes_of_all_hosts_are_summed_up(browser: httpx.AsyncClient, resources: Resources) -> None:
    role = resources.workflows[TAKEOVER].roles[0]
    for number, task_id in enumerate(await submit_request(resources, (1, 2, 3))):
        await advance(resources, task_id, [], running=role)
        names = ("proxy_mem_limited", "work_thread_num")[: number + 1]
        changes = [HostChange(what="parameter", name=name, before="1", after="2") for name in names]
        await Recorder(resources, task_id).record([Changed(role=role, changes=changes)])

    page = text((await browser.get("/requests/1")).text)

    assert "Changes on the hosts 2 parameters on 3 hosts" in page


async def test_a_check_groups_the_findings_of_all_subtasks(browser: httpx.AsyncClient, resources: Resources) -> None:
    roles = resources.workflows[PRECHECK].roles
    made = HostChange(what="parameter", name="work_thread_num", before="1", after="2")
    for task_id in await fill_checks(resources, 1, 2):
        changes: list[Change] = []
        for role in roles:
            code: Code = "FINDINGS" if role in roles[:2] else ""
            verdict, message = (
                (Verdict.FAILED, f"Rule: {role}. Found: b. Fix: c.") if code else (Verdict.SUCCESSFUL, "")
            )
            changes += [Started(role=role), Changed(role=role, changes=[made])]
            changes.append(Ended(role=role, verdict=verdict, code=code, message=message))
        await Recorder(resources, task_id).record(changes)

    page = (await browser.get("/requests/1")).text

    failures = part(page, "failures")
    assert text(failures).count("2 hosts failed at") == 2 and roles[0] in failures and roles[1] in failures
    assert re.search(r'title="odp-1: Failed[^"]* · 1 parameter"', page)


async def fill_checks(resources: Resources, *host_ids: int) -> list[int]:
    """Submit a check of some hosts and return its task instances."""
    hosts = [HostRequest(host_id=host_id, sql_port=2883) for host_id in host_ids]
    submitted = await submit.take_over(resources, 1, hosts, creator=ADMIN, trace_id="t", check=True)
    return [task.id for task, _ in submitted]


async def test_the_list_has_the_progress_of_each_request(browser: httpx.AsyncClient, resources: Resources) -> None:
    assert "No requests yet." in (await browser.get("/requests")).text
    found = await fill_requests(resources, HOSTS)
    assert "No requests yet." not in (await browser.get("/requests?page=9")).text

    page = (await browser.get("/requests")).text

    assert f'href="/requests/{found["running_request"]}">Takeover into test</a>' in page
    assert "20/60" in page and "3/6" in page and "Stopped" in page
    assert page.index("20/60") < page.index("3/6"), "the newest first"


async def test_a_task_leads_to_its_request(browser: httpx.AsyncClient, resources: Resources) -> None:
    canary, held = await submit_request(resources, (1, 2), Rollout(canary=1))
    waiting = text((await browser.get(f"/tasks/{held}")).text)
    await advance(resources, canary, [], resources.workflows[TAKEOVER].roles[0], "It does not answer.")
    stopped = (await browser.get(f"/tasks/{held}")).text
    listed = text((await browser.get("/tasks")).text)
    panel = (await browser.get("/tasks/open")).text
    form = text((await browser.get("/clusters/1/takeover")).text)

    assert "Its batch has not started. Request 1" in waiting and "Waiting for these hosts: odp-1" in waiting
    assert "Not started: too many hosts of its request have failed." in text(stopped)
    assert 'id="held-request" href="/requests/1"' in stopped and 'id="request" href="/requests/1"' in stopped
    assert "Not started" in listed and "0 running" in listed
    assert f"Last task #{held} Not started" in form
    assert f'href="/tasks/{canary}"' in panel and f'href="/tasks/{held}"' not in panel


async def test_the_form_submits_a_policy_and_leads_to_the_request(browser: httpx.AsyncClient) -> None:
    hosts = {"host-1": "on", "port-1": "2883", "host-2": "on", "port-2": "2883"}
    answer = await send(browser, "/clusters/1/takeover", **hosts, canary="1")
    refused = await send(browser, "/clusters/1/takeover", **{"host-3": "on", "port-3": "2883", "batch-size": "0"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/requests/1?done=takeover")
    page = text((await browser.get("/requests/1?done=takeover")).text)
    assert "Takeover submitted." in page and "odp-2 : Waiting for its batch" in page
    assert refused.status_code == 400 and "rollout.batchSize must be at least 1; it is 0." in refused.text
    assert '<details class="rollout" open>' in refused.text and 'name="batch-size" min="1" value="0"' in refused.text


async def test_an_unknown_request_and_operation(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/requests/4711")).status_code == 404
    assert (await send(browser, "/requests/4711/retry")).status_code == 404
    assert (await send(browser, "/requests/1/explode")).status_code == 404


async def test_a_viewer_has_no_buttons(app: Starlette, resources: Resources) -> None:
    await users.add(resources.database, "ben", "long enough", [Role.TASK_VIEWER])
    found = await fill_requests(resources, HOSTS)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service", headers=PAGE) as http:
        await http.post("/login", data={"name": "ben", "password": "long enough"})
        page = (await http.get(f"/requests/{found['stopped_request']}")).text

    assert "request-retry" not in page and "request-cancel" not in page
    assert 'href="/clusters/1"' not in page
