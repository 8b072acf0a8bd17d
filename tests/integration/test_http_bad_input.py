"""Bad input, as a table: each case gets its status, its code and the envelope, and writes no row.

tests/unit/test_requests.py has the rules for single bytes of bodies and queries.
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import httpx
import pytest
from psycopg.sql import SQL, Identifier
from starlette.applications import Starlette

from service.model.settings import Settings
from service.tasks.resources import Resources
from tests.integration.http_helpers import TABLES, assert_failure, count_rows, take_over, take_over_body

TAKE_OVER = "/api/v2/obproxy/clusters/1/takeOver"
TASKS = "/api/v2/tasks/instances"
LARGEST = 2**63 - 1
BODY_LIMIT = 16 * 1024
HOSTS_LIMIT = 50
BUSY, MANAGED, FREE = 1, 2, 3
JSON_TYPE = MappingProxyType({"Content-Type": "application/json"})


@dataclass(frozen=True)
class Case:
    """A request and its error response: `message` is a part of the message, `fields` are the invalid fields."""

    path: str
    status: int
    message: str = ""
    code: int = 0
    fields: tuple[str, ...] = ()
    method: str = "POST"
    content: bytes = b""
    headers: Mapping[str, str] = JSON_TYPE


def take_over_of(
    content: object,
    status: int,
    message: str,
    *,
    code: int = 0,
    fields: tuple[str, ...] = (),
    path: str = TAKE_OVER,
    headers: Mapping[str, str] = JSON_TYPE,
) -> Case:
    """Send a takeOver request with a body of bytes or JSON; return the response."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Case(path, status, message, code, fields, content=body, headers=headers)


def hosts(*elements: object) -> bytes:
    return json.dumps({"hosts": elements}).encode()


def host(host_id: object = FREE, sql_port: object = 2883) -> dict[str, object]:
    return {"hostId": host_id, "sqlPort": sql_port}


RIGHT = json.dumps(take_over_body(FREE)).encode()

BODIES = {
    "empty": take_over_of(b"", 400, "The request body is not valid JSON: EOF"),
    "cut off": take_over_of(RIGHT[:-1], 400, "The request body is not valid JSON: EOF"),
    "more behind it": take_over_of(RIGHT + RIGHT, 400, "trailing characters"),
    "not UTF-8": take_over_of(b'{"hosts": "\xff"}', 400, "invalid unicode code point"),
    "UTF-16": take_over_of(RIGHT.decode().encode("utf-16"), 400, "The request body is not valid JSON"),
    "byte order mark": take_over_of(b"\xef\xbb\xbf" + RIGHT, 400, "expected value"),
    "lone surrogate": take_over_of(b'{"hosts": "\\ud800"}', 400, "hex escape"),
    "too deep": take_over_of(b"[" * 10_000, 400, "recursion limit exceeded"),
    "too deep in an unknown field": take_over_of(b'{"x": %s}' % (b"[" * 5000 + b"]" * 5000), 400, "recursion limit"),
    "number without end": take_over_of(b'{"hosts": %s}' % (b"1" * 10_000), 400, "number out of range"),
    "null": take_over_of(None, 400, "body must be an object; it is null.", fields=("body",)),
    "array": take_over_of([], 400, "body must be an object", fields=("body",)),
    "form": take_over_of(RIGHT, 415, "'text/plain'", headers={"Content-Type": "text/plain"}),
    "no type": take_over_of(RIGHT, 415, "Content-Type ''", headers={}),
    "encoded": take_over_of(
        b"\x1f\x8b\x08\x00",
        415,
        "Content-Encoding 'gzip' is not supported",
        headers={**JSON_TYPE, "Content-Encoding": "gzip"},
    ),
    "compressed": take_over_of(b"\x1f\x8b\x08\x00", 400, "The request body is not valid JSON"),
    "one byte too many": take_over_of(RIGHT.ljust(BODY_LIMIT + 1), 413, f"{BODY_LIMIT} bytes"),
    "much too large": take_over_of(b"[" * 5_000_000, 413, f"{BODY_LIMIT} bytes"),
}

HOSTS = {
    "no hosts": take_over_of({}, 400, "hosts is required.", fields=("hosts",)),
    "hosts null": take_over_of({"hosts": None}, 400, "hosts must be a list", fields=("hosts",)),
    "hosts empty": take_over_of(hosts(), 400, "hosts must not be empty", fields=("hosts",)),
    "hosts a map": take_over_of({"hosts": host()}, 400, "hosts must be a list", fields=("hosts",)),
    "too many hosts": take_over_of(
        hosts(*[{}] * (HOSTS_LIMIT + 1)), 400, f"hosts must have at most {HOSTS_LIMIT} elements", fields=("hosts",)
    ),
    "the same host twice": take_over_of(hosts(host(), host(sql_port=2884)), 400, "twice", fields=("hosts[1].hostId",)),
    "everything wrong": take_over_of(
        hosts({}, host("x", 0), host(), host(True, 65536), 7, host(), {**host(4), "proxysysPasswd": 1}),
        400,
        "hosts[0].hostId is required.",
        fields=(
            *("hosts[0].hostId", "hosts[0].sqlPort", "hosts[1].hostId", "hosts[1].sqlPort", "hosts[3].hostId"),
            *("hosts[3].sqlPort", "hosts[4]", "hosts[5].hostId", "hosts[6].proxysysPasswd"),
        ),
    ),
    "host id a string": take_over_of(hosts(host("one")), 400, 'it is "one".', fields=("hosts[0].hostId",)),
    "host id a fraction": take_over_of(hosts(host(1.5)), 400, "it is 1.5.", fields=("hosts[0].hostId",)),
    "host id beyond a Long": take_over_of(
        hosts(host(LARGEST + 1)), 400, f"at most {LARGEST}", fields=("hosts[0].hostId",)
    ),
    "host id NaN": take_over_of(hosts(host(float("nan"))), 400, "it is nan.", fields=("hosts[0].hostId",)),
    "port 0": take_over_of(hosts(host(sql_port=0)), 400, "at least 1; it is 0.", fields=("hosts[0].sqlPort",)),
    "NUL in a password": take_over_of(
        hosts({**host(), "proxysysPasswd": "a\0"}), 400, "control characters.", fields=("hosts[0].proxysysPasswd",)
    ),
    "unknown host": take_over_of(hosts(host(99)), 404, "Host 99 does not exist", code=7005),
    "a negative host": take_over_of(hosts(host(-1)), 404, "Host -1 does not exist", code=7005),
    "the largest host": take_over_of(hosts(host(LARGEST)), 404, f"Host {LARGEST} does not exist", code=7005),
    "unknown hosts": take_over_of(
        hosts(host(98), host(), host(99)), 400, "Host 98 does not", fields=("hosts[0].hostId", "hosts[2].hostId")
    ),
    "busy host": take_over_of(hosts(host(), host(BUSY)), 409, f"Host {BUSY} already has a running task", code=1005),
    "busy host, other port": take_over_of(hosts(host(BUSY, 1)), 409, f"Host {BUSY} already has", code=1005),
    "managed proxy": take_over_of(hosts(host(), host(MANAGED)), 409, f"host {MANAGED} at port 2883 is", code=1005),
}

CLUSTERS = {
    **{
        f"cluster {cluster}": take_over_of(
            RIGHT, 404, "does not exist", path=TAKE_OVER.replace("1", cluster), code=21001
        )
        for cluster in ("2", "0", "-1", str(LARGEST), "0099")
    },
    **{
        f"cluster {cluster}": take_over_of(
            RIGHT, 400, "id must be", path=TAKE_OVER.replace("1", cluster), fields=("id",)
        )
        for cluster in ("x", "1.0", "%31%00", "%zz", "%ff", "1,2", "+1", str(LARGEST + 1), "9" * 5000, "null", "😀")
    },
}

QUERIES = {
    "a sort field": Case(f"{TASKS}?sort=type", 400, "sort must be 'id,asc'", fields=("sort",), method="GET", code=1011),
    **{
        f"unknown parameter of {path}": Case(
            f"{path}?machine=x&page=0", 400, "machine is not a query parameter", fields=fields, method=method
        )
        for method, path, fields in (
            ("GET", TASKS, ("machine",)),
            ("GET", f"{TASKS}/TASK", ("machine", "page")),
            ("GET", f"{TASKS}/TASK/events", ("machine", "page")),
            ("GET", "/api/v2/compute/hosts", ("machine",)),
            ("GET", "/api/v2/obproxy/clusters", ("machine",)),
            ("GET", "/api/v2/info", ("machine", "page")),
            ("POST", TAKE_OVER, ("machine", "page")),
        )
    },
    **{
        query: Case(f"{TASKS}?{query}", 400, message, fields=fields, method="GET")
        for query, message, fields in (
            ("page=0", "page must be at least 1; it is 0.", ("page",)),
            ("page=9223372036854775807", "page must be at most 2147483647", ("page",)),
            ("page=1&page=1", 'page must be an integer; it is "1,1".', ("page",)),
            ("size=2001", "size must be at most 2000; it is 2001.", ("size",)),
            ("size=ten", 'size must be an integer; it is "ten".', ("size",)),
            ("hostId=1e3", 'hostId must be an integer; it is "1e3".', ("hostId",)),
            ("status=running", "status[0] must be 'RUNNING', 'FAILED' or 'SUCCESSFUL'", ("status[0]",)),
            ("type=manual", "type must be 'MANUAL'", ("type",)),
            ("sort=type&page=0", "page must be at least 1", ("page", "sort")),
            ("name=%00", "name must not contain control characters", ("name",)),
            ("name=%ff", "The query string must be percent-encoded UTF-8", ("query",)),
            ("name=%ed%a0%80", "The query string must be percent-encoded UTF-8", ("query",)),
            ("&".join(["a=1"] * 101), "at most 100 parameters", ("query",)),
            ("page=x&size=0&type=X", "must be", ("page", "size", "type")),
        )
    },
}

READS = {
    "unknown request": Case("/api/v2/obproxy/requests/4711", 404, "Request 4711 does not exist.", 4001, method="GET"),
    "request no number": Case(
        "/api/v2/obproxy/requests/new", 400, "must be an integer", fields=("requestId",), method="GET"
    ),
    "requests by name": Case(
        "/api/v2/obproxy/requests?sort=name", 400, "sort must be 'id,asc' or", 1011, fields=("sort",), method="GET"
    ),
    "unknown task": Case(f"{TASKS}/4711", 404, "Task instance 4711 does not exist.", 4001, method="GET"),
    "negative task": Case(f"{TASKS}/-1", 404, "Task instance -1 does not exist.", 4001, method="GET"),
    "task no Long": Case(f"{TASKS}/{LARGEST + 1}", 400, "must be at most", fields=("taskInstanceId",), method="GET"),
    "task no number": Case(f"{TASKS}/new", 400, "must be an integer", fields=("taskInstanceId",), method="GET"),
    "log of an unknown task": Case(f"{TASKS}/4711/subtasks/1/log", 404, "Task instance 4711", 4001, method="GET"),
    "log of an unknown subtask": Case(f"{TASKS}/TASK/subtasks/4711/log", 404, "no subtask 4711", 4001, method="GET"),
    "log of another's subtask": Case(f"{TASKS}/TASK/subtasks/SUBTASK/log", 404, "no subtask", 4001, method="GET"),
    "log of no number": Case(
        f"{TASKS}/TASK/subtasks/x/log", 400, "must be an integer", fields=("subtaskInstanceId",), method="GET"
    ),
    "log after no number": Case(
        f"{TASKS}/TASK/subtasks/1/log?after=x", 400, "must be an integer", fields=("after",), method="GET"
    ),
}

ROUTES = {
    "a post to the page": Case("/", 405, "POST is not supported at /", 1008),
    **{
        f"path {path}": Case(path, 404, "does not exist.", 1002)
        for path in (
            *("/api", "/api/v2/", "/nowhere", "/%00", "/%ff", "/%zz", "/..%2f..%2fetc%2fpasswd"),
            *(TAKE_OVER + "//", TAKE_OVER.upper(), TAKE_OVER.replace("/1/", "//"), TAKE_OVER.replace("/1/", "/1%2F2/")),
            *(TASKS + "/1/subtasks", "/" + "a" * 10_000),
        )
    },
    **{
        f"{method} {path}": Case(path, 405, f"{method} is not supported at", 1008, method=method)
        for method, path in (
            *(("GET", TAKE_OVER), ("PUT", TAKE_OVER), ("DELETE", TAKE_OVER), ("BREW", TAKE_OVER)),
            *(("POST", TASKS), ("DELETE", f"{TASKS}/1"), ("PATCH", "/api/v2/info"), ("POST", "/api/v2/time")),
            *(("TRACE", TASKS), ("POST", "/openapi.json")),
        )
    },
}

STRANGERS = {
    **{
        f"nobody: {path}": Case(
            path, 401, "Not logged in", 3000, method=method, headers={"Authorization": ""}, content=RIGHT
        )
        for method, path in (("POST", TAKE_OVER), ("GET", TASKS), ("GET", "/nowhere"), ("DELETE", TASKS))
    },
    "nobody with a body": Case(
        TAKE_OVER, 401, "Not logged in", 3000, headers={"Authorization": "Basic !"}, content=b"[" * 5_000_000
    ),
}

OBPROXIES = "/api/v2/obproxy/clusters/1/obproxies/"
DISCOVER = "/api/v2/obproxy/discover"
DISCOVERIES = {
    f"discover {what}": Case(
        DISCOVER, status, message, code, fields=fields, content=json.dumps({"hostIds": host_ids}).encode()
    )
    for what, host_ids, status, message, code, fields in (
        ("an unknown host", [998], 404, "Host 998 does not exist", 7005, ()),
        ("unknown hosts", [998, 1, 999], 400, "Host 998 does not exist", 0, ("hostIds[0]", "hostIds[2]")),
        ("no host", [], 400, "hostIds must", 0, ("hostIds",)),
        ("a host twice", [1, 1], 400, "must not repeat 1", 0, ("hostIds",)),
        ("a name", ["odp-1"], 400, "hostIds[0] must be an integer", 0, ("hostIds[0]",)),
        ("too many hosts", [*range(HOSTS_LIMIT + 1)], 400, f"at most {HOSTS_LIMIT} elements", 0, ("hostIds",)),
    )
}
WORKFLOWS = {
    f"{operation} of {ids}": Case(f"{OBPROXIES}{ids}/{operation}", 400, message, fields=fields)
    for operation in ("refresh", "restart")
    for ids, message, fields in (
        ("x", "obproxyIds[0] must be an integer", ("obproxyIds[0]",)),
        ("1,,2", "obproxyIds[1] must be an integer", ("obproxyIds[1]",)),
        ("7,7", "obproxyIds must not repeat 7", ("obproxyIds",)),
        ("999", "OBProxy server 999 does not exist in OBProxy cluster 1.", ("obproxyIds[0]",)),
        (",".join(map(str, range(HOSTS_LIMIT + 1))), f"must have at most {HOSTS_LIMIT} elements", ("obproxyIds",)),
    )
} | {
    "restart with a text": Case(
        f"{OBPROXIES}999/restart",
        400,
        "allowColdRestart must be true or false",
        fields=("allowColdRestart",),
        content=b'{"allowColdRestart": "yes"}',
    ),
    "refresh with a form": Case(
        f"{OBPROXIES}999/refresh", 415, "'text/plain'", content=b"x", headers={"Content-Type": "text/plain"}
    ),
}

CASES = {**WORKFLOWS, **BODIES, **HOSTS, **CLUSTERS, **QUERIES, **READS, **ROUTES, **STRANGERS}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Small limits, so that what goes beyond them is small as well."""
    return settings.model_copy(update={"body_limit": BODY_LIMIT, "hosts_limit": HOSTS_LIMIT})


@dataclass(frozen=True)
class There:
    """Ids of what there is: a running task instance, and a subtask of another one."""

    task: int
    foreign_subtask: int


@pytest.fixture
async def there(client: httpx.AsyncClient, app: Starlette) -> AsyncIterator[There]:
    """One host is busy, one is managed, one is free."""
    busy, managed = await take_over(client, BUSY, MANAGED)
    async with app.state.resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE task_instance SET status = 'SUCCESSFUL', finish_time = now() WHERE id = %s", (managed["id"],)
        )
        await connection.execute("UPDATE obproxy_server SET status = 'RUNNING' WHERE host_id = %s", (MANAGED,))
    yield There(task=busy["id"], foreign_subtask=managed["subtasks"][0]["id"])


async def test_bad_input_is_rejected_by_name_and_changes_nothing(
    client: httpx.AsyncClient, app: Starlette, there: There, subtests: pytest.Subtests
) -> None:
    resources: Resources = app.state.resources
    before = await count_rows(resources)
    for name, case in CASES.items():
        with subtests.test(name):
            path = case.path.replace("SUBTASK", str(there.foreign_subtask)).replace("TASK", str(there.task))
            auth = None if "Authorization" in case.headers else httpx.USE_CLIENT_DEFAULT
            answer = await client.request(
                case.method, path, content=case.content, headers=dict(case.headers), auth=auth
            )

            failure = assert_failure(answer)
            assert (answer.status_code, failure.error.code) == (case.status, case.code), answer.text
            assert case.message in failure.error.message
            assert tuple(sub_error.field for sub_error in failure.error.subErrors or ()) == case.fields
            assert ("www-authenticate" in answer.headers) is (case.status == 401)
            assert ("allow" in answer.headers) is (case.status == 405)
            assert (failure.traceId == "") is (case.status == 401)
            assert await count_rows(resources) == before


async def test_corrected_input_is_accepted(client: httpx.AsyncClient, there: There) -> None:
    """The table's requests would be accepted but for what each has wrong."""
    assert [task["hostId"] for task in await take_over(client, FREE)] == [FREE]


async def test_unknown_fields_of_a_request_are_ignored(client: httpx.AsyncClient, resources: Resources) -> None:
    """Least of all into options of ssh or Ansible."""
    more = {"ansible_ssh_common_args": "-oProxyCommand=needle", "extraVars": {"a": "needle"}, "tags": "needle"}
    body = {"hosts": [{"hostId": FREE, "sqlPort": 2883, **more}], **more}

    answer = await client.post(TAKE_OVER, json=body, headers={"X-Ansible": "needle"})

    assert answer.status_code == 200 and "needle" not in answer.text
    async with resources.database.autocommit() as connection:
        for table in TABLES:
            cursor = await connection.execute(SQL("SELECT t::text AS row FROM {} t").format(Identifier(table)))
            assert not [row for row in await cursor.fetchall() if "needle" in row["row"]]


async def test_an_unreadable_inventory_is_named_and_the_last_good_one_kept(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    await take_over(client, 1)
    (settings.inventory / "hosts.yml").write_text("all: [", encoding="utf-8")

    assert [task["hostId"] for task in await take_over(client, 2)] == [2]


async def test_an_inventory_that_was_never_readable_is_named(client: httpx.AsyncClient, settings: Settings) -> None:
    (settings.inventory / "hosts.yml").write_text("all: [", encoding="utf-8")

    answer = await client.post(TAKE_OVER, json=take_over_body(1))

    failure = assert_failure(answer)
    assert answer.status_code == 503
    assert "hosts.yml" in failure.error.message


async def test_an_error_response_is_in_the_callers_language(client: httpx.AsyncClient) -> None:
    path, wrong = "/api/v2/obproxy/clusters/1/takeOver", {"hosts": [{"hostId": 1, "sqlPort": 70000}]}
    chinese = await client.post(path, json=wrong, headers={"Accept-Language": "zh-CN,zh;q=0.9"})
    german = await client.post(path, json=wrong, headers={"Accept-Language": "de"})
    unknown = await client.get("/api/v2/tasks/instances/404", headers={"Accept-Language": "zh"})

    error = assert_failure(chinese).error
    assert error.message == "hosts[0].sqlPort 不能大于 65535\uff0c当前值为 70000。"
    assert error.subErrors and error.subErrors[0].message == error.message
    assert assert_failure(german).error.message == "hosts[0].sqlPort must be at most 65535; it is 70000."
    assert assert_failure(unknown).error.message == "任务 404 不存在。"
