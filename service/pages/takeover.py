"""The form that asks for takeovers: hosts of the inventory, with what is known of each."""

import json
import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.access.roles import permitted
from service.api.request_schemas import TakeOverParam
from service.fleet import available_hosts
from service.http import requests
from service.http.envelope import STATUS, trace_id
from service.http.languages import of_errors
from service.inventory.records import Cluster
from service.model.errors import TakeoverError, UnknownCluster
from service.model.workflow import TAKEOVER
from service.pages.rendering import language_of, render
from service.tasks import submit
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest

READ_TASK = "TASK:*:READ"
CONSENT = "allow-restart"
CHOSEN = re.compile(r"host-([0-9]{1,18})")
MOST_SHOWN = 500  # hosts of one form; who has more narrows them


async def form(request: Request) -> Response:
    """GET /clusters/{id}/takeover"""
    resources = requests.resources(request)
    return await _form(request, await _cluster(resources, request), {}, None)


async def take_over(request: Request) -> Response:
    """POST /clusters/{id}/takeover: the form again when something is wrong with it, else to what it has begun."""
    resources = requests.resources(request)
    cluster = await _cluster(resources, request)
    content = await requests.read_body(request.headers, request.receive, resources.settings.body_limit)
    fields = requests.form_fields(content)
    try:
        submitted = await submit.take_over(
            resources,
            cluster.id,
            _hosts(fields, resources),
            creator=request.user,
            trace_id=trace_id(request),
            allow_restart=_consent(fields, cluster),
        )
    except TakeoverError as error:
        return await _form(request, cluster, fields, error)
    ids = [task.id for task, _ in submitted]
    if len(ids) == 1 and permitted(request.user.roles, READ_TASK):
        return RedirectResponse(f"/tasks/{ids[0]}?done=takeover", 303)
    return RedirectResponse(f"/clusters/{cluster.id}/takeover?submitted={','.join(map(str, ids))}", 303)


async def _cluster(resources: Resources, request: Request) -> Cluster:
    cluster_id = requests.path_id(request, "id")
    inventory = await resources.inventory.current()
    if cluster_id not in inventory.clusters:
        raise UnknownCluster(cluster_id=cluster_id)
    return inventory.clusters[cluster_id]


def _hosts(fields: Mapping[str, str], resources: Resources) -> list[HostRequest]:
    """What was chosen, by the rules that the API's requests are held to; raises InvalidRequest."""
    hosts = []
    for name in fields:
        if match := CHOSEN.fullmatch(name):
            port, password = fields.get(f"port-{match[1]}", ""), fields.get(f"password-{match[1]}", "")
            spelled = int(port) if re.fullmatch("[0-9]{1,9}", port) else port
            hosts.append({"hostId": int(match[1]), "sqlPort": spelled, "proxysysPasswd": password or None})
    context = TakeOverParam.context(resources.settings.hosts_limit)
    wanted = requests.parsed(json.dumps({"hosts": hosts}).encode(), TakeOverParam, context=context)
    return [HostRequest(host_id=h.host_id, sql_port=h.sql_port, password=h.proxysys_passwd) for h in wanted.hosts]


def _consent(fields: Mapping[str, str], cluster: Cluster) -> bool | None:
    """What the form says about restarts, where that is not what the OBProxy cluster says.

    Else nothing: whoever changes the cluster's word later means these takeovers, and their retries, too.
    """
    allowed = CONSENT in fields
    return None if allowed == cluster.allows_restart else allowed


async def _form(request: Request, cluster: Cluster, fields: Mapping[str, str], error: TakeoverError | None) -> Response:
    resources = requests.resources(request)
    keyword = request.query_params.get("keyword", "")
    found = await available_hosts.find(resources, keyword)
    submitted = re.findall("[0-9]{1,18}", request.query_params.get("submitted", ""))
    return render(
        request,
        "takeover.html",
        status=STATUS[error.kind] if error else 200,
        cluster=cluster,
        candidates=found[:MOST_SHOWN],
        left_out=max(0, len(found) - MOST_SHOWN),
        keyword=keyword,
        fields=fields,
        allow_restart=CONSENT in fields if fields else cluster.allows_restart,
        subtasks=resources.workflows[TAKEOVER].subtasks,
        refused=error.say(of_errors(language_of(request))) if error else "",
        submitted=submitted,
    )
