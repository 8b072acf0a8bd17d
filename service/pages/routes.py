"""Routes of the pages, of their forms, and of static files."""

from dataclasses import dataclass

from service.access.roles import ANY_USER, PUBLIC, READ_AUDIT, READ_OBPROXY, READ_TASK, UPDATE_OBPROXY, UPDATE_TASK
from service.http.openapi import Endpoint
from service.pages import audit, clusters, confirmation, hosts, login, requests, static_files, takeover, task, tasks


@dataclass(frozen=True, kw_only=True)
class PageRoute:
    """A route for browsers; `permission` is the required one, as in an Operation."""

    path: str
    endpoint: Endpoint
    permission: str = ANY_USER
    method: str = "GET"


def _operation(path: str, endpoint: Endpoint, permission: str) -> PageRoute:
    """Return the route of an operation, which the user must confirm."""
    return PageRoute(path=path, endpoint=confirmation.required(endpoint), permission=permission, method="POST")


TASK = "/tasks/{taskInstanceId}"
REQUEST = "/requests/{requestId}"
SUBTASK = TASK + "/subtasks/{subtaskInstanceId}"

PAGES = (
    PageRoute(path="/", endpoint=login.home),
    PageRoute(path="/login", endpoint=login.login_form, permission=PUBLIC),
    PageRoute(path="/login", endpoint=login.login, permission=PUBLIC, method="POST"),
    PageRoute(path="/logout", endpoint=login.logout, method="POST"),
    PageRoute(path="/preferences", endpoint=login.preferences, permission=PUBLIC),
    PageRoute(path="/tasks", endpoint=tasks.list_tasks, permission=READ_TASK),
    PageRoute(path="/tasks/open", endpoint=tasks.list_open_tasks, permission=READ_TASK),
    _operation("/tasks/selected/{operation}", tasks.execute_operation, UPDATE_TASK),
    PageRoute(path=TASK, endpoint=task.show_task, permission=READ_TASK),
    _operation(TASK + "/{operation}", task.execute_operation, UPDATE_TASK),
    _operation(SUBTASK + "/{operation}", task.execute_operation, UPDATE_TASK),
    PageRoute(path=SUBTASK + "/lines", endpoint=task.log_lines, permission=READ_TASK),
    PageRoute(path=SUBTASK + "/log", endpoint=task.download_log, permission=READ_TASK),
    PageRoute(path="/hosts/{hostId}", endpoint=hosts.show_host, permission=READ_TASK),
    PageRoute(path="/requests", endpoint=requests.list_requests, permission=READ_TASK),
    _operation("/requests/selected/{operation}", requests.execute_on_selected, UPDATE_TASK),
    PageRoute(path=REQUEST, endpoint=requests.show_request, permission=READ_TASK),
    _operation(REQUEST + "/takeover", requests.take_over_passed, UPDATE_OBPROXY),
    _operation(REQUEST + "/{operation}", requests.execute_operation, UPDATE_TASK),
    PageRoute(path="/clusters", endpoint=clusters.list_clusters, permission=READ_OBPROXY),
    PageRoute(path="/clusters/{id}", endpoint=clusters.show_cluster, permission=READ_OBPROXY),
    _operation("/clusters/{id}/servers/{obproxyId}/{operation}", clusters.submit_workflow, UPDATE_OBPROXY),
    PageRoute(path="/clusters/{id}/takeover", endpoint=takeover.show_form, permission=UPDATE_OBPROXY),
    PageRoute(path="/clusters/{id}/takeover/rows", endpoint=takeover.list_changed_rows, permission=UPDATE_OBPROXY),
    PageRoute(path="/clusters/{id}/takeover", endpoint=takeover.take_over, permission=UPDATE_OBPROXY, method="POST"),
    PageRoute(path="/clusters/{id}/takeover/check", endpoint=takeover.check, permission=UPDATE_OBPROXY, method="POST"),
    PageRoute(
        path="/clusters/{id}/takeover/discover", endpoint=takeover.discover, permission=UPDATE_OBPROXY, method="POST"
    ),
    PageRoute(path="/audit", endpoint=audit.list_events, permission=READ_AUDIT),
    *(PageRoute(path=path, endpoint=static_files.serve, permission=PUBLIC) for path in static_files.FILES),
)
