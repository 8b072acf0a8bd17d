"""Every route with every role: success or 403, and the error response reveals nothing else."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from service.access import users
from service.access.roles import ANY_USER, PUBLIC, Role
from service.http.openapi import EVENT_STREAM
from service.pages.routes import PAGES
from service.routes import OPERATIONS
from tests.integration.http_helpers import assert_failure

EVERYBODY = frozenset(Role)
TASK_READERS = frozenset({Role.ADMIN, Role.CLUSTER_MANAGER, Role.TASK_MANAGER, Role.TASK_VIEWER})
TASK_WORKERS = TASK_READERS - {Role.TASK_VIEWER}
OBPROXY_WORKERS = frozenset({Role.ADMIN, Role.CLUSTER_MANAGER, Role.OBPROXY_MANAGER})
OBPROXY_READERS = OBPROXY_WORKERS | {Role.OBPROXY_VIEWER}
HOST_READERS = frozenset({Role.ADMIN, Role.OBPROXY_MANAGER, Role.OBPROXY_VIEWER, Role.HOST_MANAGER, Role.HOST_VIEWER})
TASK = "/api/v2/tasks/instances/{taskInstanceId}"
SUBTASK = TASK + "/subtasks/{subtaskInstanceId}"
REQUESTS = "/api/v2/obproxy/requests"
REQUEST = REQUESTS + "/{requestId}"

MAY = {
    ("POST", "/api/v2/obproxy/clusters/{id}/takeOver"): OBPROXY_WORKERS,
    ("POST", "/api/v2/obproxy/clusters/{id}/takeOver/precheck"): OBPROXY_WORKERS,
    ("POST", "/api/v2/obproxy/clusters/{id}/servers/release"): OBPROXY_WORKERS,
    ("POST", "/api/v2/obproxy/clusters/{id}/obproxies/{obproxyIds}/refresh"): OBPROXY_WORKERS,
    ("POST", "/api/v2/obproxy/clusters/{id}/obproxies/{obproxyIds}/restart"): OBPROXY_WORKERS,
    ("POST", "/api/v2/obproxy/externalRuns"): OBPROXY_WORKERS,
    ("POST", "/api/v2/obproxy/discover"): OBPROXY_WORKERS,
    ("GET", "/api/v2/obproxy/discoveries"): OBPROXY_READERS,
    ("GET", "/api/v2/obproxy/discoveries/events"): OBPROXY_READERS,
    ("GET", "/api/v2/obproxy/clusters"): OBPROXY_READERS,
    ("GET", "/api/v2/obproxy/clusters/{id}"): OBPROXY_READERS,
    ("GET", "/api/v2/obproxy/clusters/{id}/parameters"): OBPROXY_READERS,
    ("GET", "/api/v2/obproxy/parameterInfo"): OBPROXY_READERS,
    ("GET", "/api/v2/obproxy/exporters"): OBPROXY_READERS,
    ("GET", "/metrics"): TASK_READERS,
    ("GET", "/health/live"): EVERYBODY,
    ("GET", "/health/ready"): EVERYBODY,
    ("GET", "/api/v2/compute/hosts"): HOST_READERS,
    ("GET", "/api/v2/compute/hosts/{hostId}"): HOST_READERS,
    ("GET", "/api/v2/tasks/instances"): TASK_READERS,
    ("GET", TASK): TASK_READERS,
    ("POST", TASK + "/retry"): TASK_WORKERS,
    ("POST", TASK + "/rollback"): TASK_WORKERS,
    ("POST", TASK + "/downloadDiagnosis"): TASK_READERS,
    ("POST", SUBTASK + "/retry"): TASK_WORKERS,
    ("POST", SUBTASK + "/skip"): TASK_WORKERS,
    ("POST", SUBTASK + "/cancel"): TASK_WORKERS,
    ("GET", SUBTASK + "/log"): TASK_READERS,
    ("GET", TASK + "/events"): TASK_READERS,
    ("GET", "/api/v2/tasks/events"): TASK_READERS,
    ("GET", REQUESTS): TASK_READERS,
    ("GET", REQUEST): TASK_READERS,
    ("GET", REQUEST + "/events"): TASK_READERS,
    ("POST", REQUEST + "/retry"): TASK_WORKERS,
    ("POST", REQUEST + "/rollback"): TASK_WORKERS,
    ("POST", REQUEST + "/cancel"): TASK_WORKERS,
    ("GET", "/api/v2/audit/events"): frozenset({Role.ADMIN}),
    ("GET", "/api/v2/info"): EVERYBODY,
    ("GET", "/api/v2/time"): EVERYBODY,
    ("GET", "/api/status"): EVERYBODY,
}
PAGE, PAGE_OF_SUBTASK = "/tasks/{taskInstanceId}", "/tasks/{taskInstanceId}/subtasks/{subtaskInstanceId}"
MAY_SEE = {
    ("GET", "/"): EVERYBODY,
    ("GET", "/login"): EVERYBODY,
    ("POST", "/login"): EVERYBODY,
    ("POST", "/logout"): EVERYBODY,
    ("GET", "/preferences"): EVERYBODY,
    ("GET", "/tasks"): TASK_READERS,
    ("GET", "/tasks/open"): TASK_READERS,
    ("POST", "/tasks/selected/{operation}"): TASK_WORKERS,
    ("POST", "/requests/selected/{operation}"): TASK_WORKERS,
    ("GET", "/hosts/{hostId}"): TASK_READERS,
    ("GET", PAGE): TASK_READERS,
    ("POST", PAGE + "/{operation}"): TASK_WORKERS,
    ("POST", PAGE_OF_SUBTASK + "/{operation}"): TASK_WORKERS,
    ("GET", PAGE_OF_SUBTASK + "/lines"): TASK_READERS,
    ("GET", PAGE_OF_SUBTASK + "/log"): TASK_READERS,
    ("GET", "/requests"): TASK_READERS,
    ("GET", "/requests/{requestId}"): TASK_READERS,
    ("POST", "/requests/{requestId}/{operation}"): TASK_WORKERS,
    ("GET", "/clusters"): OBPROXY_READERS,
    ("GET", "/clusters/{id}"): OBPROXY_READERS,
    ("POST", "/clusters/{id}/servers/{obproxyId}/{operation}"): OBPROXY_WORKERS,
    ("GET", "/clusters/{id}/takeover"): OBPROXY_WORKERS,
    ("GET", "/clusters/{id}/takeover/rows"): OBPROXY_WORKERS,
    ("POST", "/clusters/{id}/takeover"): OBPROXY_WORKERS,
    ("POST", "/clusters/{id}/takeover/check"): OBPROXY_WORKERS,
    ("POST", "/clusters/{id}/takeover/discover"): OBPROXY_WORKERS,
    ("POST", "/requests/{requestId}/takeover"): OBPROXY_WORKERS,
    ("GET", "/audit"): frozenset({Role.ADMIN}),
}
STREAMS = {(operation.method, operation.path) for operation in OPERATIONS if operation.media_type == EVENT_STREAM}
FORBIDDEN = "User user_{0} does not have the permission {1}. These roles include it: {2}."


@pytest.fixture
async def http(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """Yield an HTTP client without credentials; each role has a user with its name."""
    for role in Role:
        await users.add(app.state.resources.database, f"user_{role}", "password", [role])
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


def test_the_table_has_every_route() -> None:
    assert {(operation.method, operation.path) for operation in OPERATIONS} == set(MAY)


async def test_every_route_with_every_role(http: httpx.AsyncClient, subtests: pytest.Subtests) -> None:
    needed = {(operation.method, operation.path): operation.permission for operation in OPERATIONS}
    for (method, path), may in MAY.items():
        for role in Role:
            with subtests.test(f"{method} {path} {role}"):
                answer = await http.request(method_to_send(method, path), at(path), auth=(f"user_{role}", "password"))

                # Nothing is there and no body was sent: with the permission, the response is another one.
                assert answer.status_code in ((200, 404, 415) if role in may else (403,))
                if role not in may and answer.request.method != "HEAD":
                    roles = ", ".join(each for each in Role if each in may)
                    message = FORBIDDEN.format(role, needed[method, path], roles)
                    found = assert_failure(answer).error.model_dump(exclude_none=True)
                    assert found == {"code": 3100, "message": message}


def test_the_table_of_pages_has_every_page() -> None:
    pages = {(page.method, page.path) for page in PAGES if not page.path.startswith("/static/")}
    assert pages == set(MAY_SEE)


async def test_every_page_with_every_role(http: httpx.AsyncClient, subtests: pytest.Subtests) -> None:
    for (method, path), may in MAY_SEE.items():
        for role in Role:
            with subtests.test(f"{method} {path} {role}"):
                answer = await http.request(
                    method, at(path), auth=(f"user_{role}", "password"), headers={"Accept": "text/html"}
                )

                assert answer.status_code < 500
                assert (answer.status_code == 403) == (role not in may), answer.text


async def test_every_route_without_credentials(http: httpx.AsyncClient, subtests: pytest.Subtests) -> None:
    for operation in OPERATIONS:
        with subtests.test(f"{operation.method} {operation.path}"):
            answer = await http.request(method_to_send(operation.method, operation.path), at(operation.path))

            assert answer.status_code == (200 if operation.permission == PUBLIC else 401)


async def test_the_description_is_for_every_user(http: httpx.AsyncClient) -> None:
    for path, content in (("/openapi.json", "application/json"), ("/docs", "text/html")):
        assert (await http.get(path)).status_code == 401
        answer = await http.get(path, auth=("user_HOST_VIEWER", "password"))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(content)


async def test_head_is_as_get(http: httpx.AsyncClient) -> None:
    assert (await http.head("/api/v2/tasks/instances", auth=("user_HOST_VIEWER", "password"))).status_code == 403


async def test_only_open_routes_and_the_own_user_need_no_permission() -> None:
    free = {operation.path for operation in OPERATIONS if operation.permission in (PUBLIC, ANY_USER)}

    assert free == {"/api/v2/info", "/api/v2/time", "/api/status", "/health/live", "/health/ready"}


def method_to_send(method: str, path: str) -> str:
    """Return the HTTP method; HEAD for an event stream, which has no end."""
    return "HEAD" if (method, path) in STREAMS else method


def at(path: str) -> str:
    """Return the path with ids that do not exist."""
    for name in ("id", "hostId", "taskInstanceId", "subtaskInstanceId", "requestId", "obproxyIds", "obproxyId"):
        path = path.replace("{" + name + "}", "999")
    return path.replace("{operation}", "retry")
