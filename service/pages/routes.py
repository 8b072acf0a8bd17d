"""What a browser asks for: the pages, what their forms do, and the files that come with them."""

from dataclasses import dataclass

from service.access.roles import ANY_USER, PUBLIC, READ_AUDIT, READ_OBPROXY, READ_TASK, UPDATE_OBPROXY, UPDATE_TASK
from service.http.openapi import Endpoint
from service.pages import audit, clusters, login, rendering, takeover, task, tasks


@dataclass(frozen=True, kw_only=True)
class PageRoute:
    """Something that a browser asks for; what `needs` says is as for an Operation."""

    path: str
    endpoint: Endpoint
    needs: str = ANY_USER
    method: str = "GET"


TASK = "/tasks/{taskInstanceId}"
SUBTASK = TASK + "/subtasks/{subtaskInstanceId}"

PAGES = (
    PageRoute(path="/", endpoint=login.home),
    PageRoute(path="/login", endpoint=login.login_form, needs=PUBLIC),
    PageRoute(path="/login", endpoint=login.login, needs=PUBLIC, method="POST"),
    PageRoute(path="/logout", endpoint=login.logout, method="POST"),
    PageRoute(path="/preferences", endpoint=login.preferences, needs=PUBLIC),
    PageRoute(path="/tasks", endpoint=tasks.list_page, needs=READ_TASK),
    PageRoute(path="/tasks/under-way", endpoint=tasks.under_way, needs=READ_TASK),
    PageRoute(path=TASK, endpoint=task.detail, needs=READ_TASK),
    PageRoute(path=TASK + "/{operation}", endpoint=task.operate, needs=UPDATE_TASK, method="POST"),
    PageRoute(path=SUBTASK + "/{operation}", endpoint=task.operate, needs=UPDATE_TASK, method="POST"),
    PageRoute(path=SUBTASK + "/lines", endpoint=task.lines, needs=READ_TASK),
    PageRoute(path=SUBTASK + "/log", endpoint=task.log_file, needs=READ_TASK),
    PageRoute(path="/clusters", endpoint=clusters.list_clusters, needs=READ_OBPROXY),
    PageRoute(path="/clusters/{id}", endpoint=clusters.show_cluster, needs=READ_OBPROXY),
    PageRoute(path="/clusters/{id}/takeover", endpoint=takeover.form, needs=UPDATE_OBPROXY),
    PageRoute(path="/clusters/{id}/takeover", endpoint=takeover.take_over, needs=UPDATE_OBPROXY, method="POST"),
    PageRoute(path="/audit", endpoint=audit.list_page, needs=READ_AUDIT),
    *(PageRoute(path=path, endpoint=rendering.static, needs=PUBLIC) for path in rendering.STATIC_FILES),
)
