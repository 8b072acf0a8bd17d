"""What a browser asks for: the pages, what their forms do, and the files that come with them."""

from dataclasses import dataclass

from service import pages, pages_audit, pages_detail, pages_login, pages_obproxy, pages_takeover, pages_tasks
from service.openapi import Endpoint
from service.permissions import ANY_USER, ANYBODY
from service.routes_obproxy import READ_OBPROXY, TAKE_OVER
from service.routes_service import READ_AUDIT
from service.routes_tasks import READ_TASK, WORK_ON_TASK


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
    PageRoute(path="/", endpoint=pages_login.home),
    PageRoute(path="/login", endpoint=pages_login.login_form, needs=ANYBODY),
    PageRoute(path="/login", endpoint=pages_login.login, needs=ANYBODY, method="POST"),
    PageRoute(path="/logout", endpoint=pages_login.logout, method="POST"),
    PageRoute(path="/preferences", endpoint=pages_login.preferences, needs=ANYBODY),
    PageRoute(path="/tasks", endpoint=pages_tasks.list_page, needs=READ_TASK),
    PageRoute(path="/tasks/under-way", endpoint=pages_tasks.under_way, needs=READ_TASK),
    PageRoute(path=TASK, endpoint=pages_detail.detail, needs=READ_TASK),
    PageRoute(path=TASK + "/{operation}", endpoint=pages_detail.operate, needs=WORK_ON_TASK, method="POST"),
    PageRoute(path=SUBTASK + "/{operation}", endpoint=pages_detail.operate, needs=WORK_ON_TASK, method="POST"),
    PageRoute(path=SUBTASK + "/lines", endpoint=pages_detail.lines, needs=READ_TASK),
    PageRoute(path=SUBTASK + "/log", endpoint=pages_detail.log_file, needs=READ_TASK),
    PageRoute(path="/clusters", endpoint=pages_obproxy.list_clusters, needs=READ_OBPROXY),
    PageRoute(path="/clusters/{id}", endpoint=pages_obproxy.show_cluster, needs=READ_OBPROXY),
    PageRoute(path="/clusters/{id}/takeover", endpoint=pages_takeover.form, needs=TAKE_OVER),
    PageRoute(path="/clusters/{id}/takeover", endpoint=pages_takeover.take_over, needs=TAKE_OVER, method="POST"),
    PageRoute(path="/audit", endpoint=pages_audit.list_page, needs=READ_AUDIT),
    *(PageRoute(path=path, endpoint=pages.static, needs=ANYBODY) for path in pages.STATIC_FILES),
)
