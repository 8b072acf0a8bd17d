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
from service.tasks import operations, submit
from service.tasks.recorder import Recorder
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest
from tests.integration.page_sessions import PAGE, form_token, logged_in
from tests.integration.sample_tasks import FAILED_RULES, advance, fill_requests, submit_request
from tests.integration.users import ADMIN

HOSTS = range(1, 67)


@pytest.fixture(autouse=True)
def inventory(inventory_file: Any) -> None:
    """Hosts that may be taken over."""
    hosts = "".join(f"    odp-{n}: {{ansible_host: 192.0.2.{n}, ocp_host_id: {n}}}\n" for n in HOSTS)
    inventory_file.write_text(f"all:\n  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test}}\n  hosts:\n{hosts}")


@pytest.fixture
async def browser(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Open a browser in which an administrator is logged in."""
    async with logged_in(app, Role.ADMIN) as http:
        yield http


async def send(browser: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    """Send a confirmed form with the CSRF token of the session."""
    token = await form_token(browser)
    return await browser.post(path, data={"form_token": token, "confirmed": "yes", **fields})


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

    assert answer.status_code == 303 and answer.headers["location"].startswith(f"{path}?done=retry-")
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
    assert "3 hosts failed at “Prepare obproxy install” CANCELED: The task instance was canceled" in page
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


async def test_an_operation_without_a_host_for_it_is_not_done(browser: httpx.AsyncClient, resources: Resources) -> None:
    await submit_request(resources, (1,))

    answer = await send(browser, "/requests/1/rollback")

    assert answer.status_code == 409
    assert "Request 1 has no host for ROLLBACK: no host is FAILED or SUPERSEDED." in text(answer.text)


async def fill_statuses(resources: Resources) -> dict[str, int]:
    """Make a request in each status, with the ids 1 to 6, and return their ids by status."""
    roles = resources.workflows[TAKEOVER].roles
    done, failed, back, running = [await submit_request(resources, (n,)) for n in (1, 2, 3, 4)]
    await advance(resources, done[0], roles)
    await advance(resources, failed[0], [], roles[0], "It is full.")
    await advance(resources, back[0], roles[:1], roles[1], "It is full.")
    await operations.rollback_task(resources, back[0])
    await advance(resources, back[0], [roles[1], roles[0]])
    await advance(resources, running[0], [], running=roles[0])
    stopped = await submit_request(resources, (5, 6), Rollout(canary=1))
    await advance(resources, stopped[0], [], roles[0], "It is full.")
    mixed = await submit_request(resources, (7, 8))
    await advance(resources, mixed[0], roles)
    await advance(resources, mixed[1], [], roles[0], "It is full.")
    return {"SUCCESSFUL": 1, "FAILED": 2, "ROLLED_BACK": 3, "RUNNING": 4, "STOPPED": 5}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("status=SUCCESSFUL", {1}),
        ("status=FAILED", {2, 6}),
        ("status=ROLLED_BACK", {3}),
        ("status=RUNNING", {4}),
        ("status=STOPPED", {5}),
        ("status=SUCCESSFUL,STOPPED", {1, 5}),
        ("status=FAILED&hostName=ODP-8", {6}),
        ("hostName=odp-7", {6}),
        ("hostName=nothing", set()),
        ("hostId=5", {5}),
        ("workflow=takeover", {1, 2, 3, 4, 5, 6}),
        ("workflow=restart", set()),
        ("obproxyCluster=TES&creator=adm", {1, 2, 3, 4, 5, 6}),
        ("obproxyCluster=other", set()),
        ("creator=otto", set()),
        ("startAfter=2020-01-01T00:00:00Z&startBefore=2199-01-01T00:00:00%2B08:00", {1, 2, 3, 4, 5, 6}),
        ("startAfter=2199-01-01T00:00:00Z", set()),
        ("startBefore=2020-01-01T00:00:00Z", set()),
    ],
)
async def test_the_list_is_searched(
    browser: httpx.AsyncClient, resources: Resources, query: str, ids: set[int]
) -> None:
    """The database filters by the status that `status_of` gives the documents."""
    statuses = await fill_statuses(resources)

    page = (await browser.get(f"/requests?{query}")).text
    listed = (await browser.get(f"/api/v2/obproxy/requests?{query}")).json()["data"]

    assert {int(number) for number in re.findall(r'<a href="/requests/(\d+)"', page)} == ids
    assert {request["id"] for request in listed["contents"]} == ids
    assert listed["page"]["totalElements"] == len(ids)
    assert ("No matching request." in page) == (not ids)
    everything = (await browser.get("/api/v2/obproxy/requests")).json()["data"]["contents"]
    found = {request["id"]: request["status"] for request in everything}
    assert found == {number: status for status, number in statuses.items()} | {6: "FAILED"}


async def test_the_filter_keeps_what_was_entered(browser: httpx.AsyncClient, resources: Resources) -> None:
    await submit_request(resources, (1,))

    page = (await browser.get("/requests?status=RUNNING&workflow=takeover&hostName=odp&size=20")).text

    assert 'name="hostName" value="odp"' in page and 'name="status" value="RUNNING"' in page
    assert 'href="/requests?workflow=takeover&amp;hostName=odp&amp;size=20&amp;status=FAILED"' in page
    assert 'href="/requests?status=RUNNING&amp;hostName=odp&amp;size=20&amp;workflow=restart"' in page


async def test_links_keep_each_value_of_a_repeated_parameter(browser: httpx.AsyncClient, resources: Resources) -> None:
    await submit_request(resources, (1,))

    page = (await browser.get("/requests?status=RUNNING&status=FAILED&page=1")).text

    assert 'action="/requests/selected/retry?status=RUNNING&amp;status=FAILED&amp;page=1"' in page
    assert 'href="/requests?status=RUNNING&amp;status=FAILED&amp;size=20"' in page
    assert 'href="/requests?status=STOPPED"' in page


async def test_only_whole_ids_are_selected(browser: httpx.AsyncClient, resources: Resources) -> None:
    await fill_statuses(resources)

    answer = await send(browser, "/requests/selected/retry", requests=f"{10**18}2")

    assert answer.status_code == 400
    failed = (await browser.get("/api/v2/obproxy/requests?status=FAILED")).json()["data"]["contents"]
    assert {request["id"] for request in failed} == {2, 6}


async def test_a_request_that_is_selected_twice_is_retried_once(
    browser: httpx.AsyncClient, resources: Resources
) -> None:
    await fill_statuses(resources)

    answer = await send(browser, "/requests/selected/retry", requests="2,2")

    assert answer.status_code == 303, "nothing was rejected"


async def test_an_invalid_filter_keeps_an_operation_from_being_executed(
    browser: httpx.AsyncClient, resources: Resources
) -> None:
    await fill_statuses(resources)

    answer = await send(browser, "/requests/selected/retry?status=NONE", requests="2")

    assert answer.status_code == 400
    failed = (await browser.get("/api/v2/obproxy/requests?status=FAILED")).json()["data"]["contents"]
    assert {request["id"] for request in failed} == {2, 6}


async def test_the_hosts_of_selected_requests_are_retried(browser: httpx.AsyncClient, resources: Resources) -> None:
    await fill_statuses(resources)

    answer = await send(browser, "/requests/selected/retry?status=FAILED", requests="2,6")

    assert answer.status_code == 303 and answer.headers["location"].startswith("/requests?status=FAILED&done=retry-")
    assert "Retry submitted." in (await browser.get(answer.headers["location"])).text
    running = (await browser.get("/api/v2/obproxy/requests?status=RUNNING")).json()["data"]["contents"]
    assert {request["id"] for request in running} == {2, 4, 6}


async def test_selected_requests_that_allow_it_are_rolled_back(
    browser: httpx.AsyncClient, resources: Resources
) -> None:
    await fill_statuses(resources)
    await submit_request(resources, (8,))  # supersedes the failed host of request 6

    answer = await send(browser, "/requests/selected/rollback?size=20", requests="1,2,6,99")

    page = text(answer.text)
    assert answer.status_code == 200 and "Accepted by 1 host. 3 rejections:" in page
    assert "1 : Request 1 has no host for ROLLBACK: no host is FAILED or SUPERSEDED." in page
    assert "odp-8 : Task instance 8 is superseded" in page and "99 : Request 99 does not exist." in page
    assert {"1", "2", "6"} == set(re.findall(r'data-select="requests" value="(\d+)" checked', answer.text))
    assert 'data-canonical-address="/requests?size=20"' in answer.text
    statuses = (await browser.get("/api/v2/obproxy/requests?status=RUNNING")).json()["data"]["contents"]
    assert {request["id"] for request in statuses} == {2, 4, 7}
    events = (await browser.get("/api/v2/audit/events?size=5")).json()["data"]["contents"]
    assert [(event["path"], event["status"]) for event in events[::-1]] == [
        ("/requests/selected/rollback", 200),
        ("/requests/1/rollback", 409),
        ("/requests/2/rollback", 200),
        ("/requests/6/rollback", 200),
        ("/requests/99/rollback", 404),
    ]


@pytest.mark.parametrize("operation", ["retry", "rollback", "cancel"])
async def test_a_viewer_cannot_change_selected_requests(app: Starlette, resources: Resources, operation: str) -> None:
    await submit_request(resources, (1,))
    async with logged_in(app, Role.TASK_VIEWER) as http:
        page = (await http.get("/requests")).text
        answer = await send(http, f"/requests/selected/{operation}", requests="1")

    assert "data-select" not in page and "/requests/selected" not in page
    assert answer.status_code == 403


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

    assert answer.status_code == 303 and answer.headers["location"].startswith("/requests/1?done=takeover-")
    page = text((await browser.get(answer.headers["location"])).text)
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
