"""Page with the form that submits takeovers of hosts of the inventory."""

import json
import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.access.roles import READ_TASK, permitted
from service.api.request_schemas import TakeOverParam
from service.fleet import available_hosts
from service.http import requests
from service.http.envelope import STATUS_CODES, trace_id
from service.http.languages import error_translator
from service.inventory.records import Cluster
from service.model.errors import TakeoverError, UnknownCluster
from service.model.workflow import TAKEOVER
from service.pages.rendering import language_of, render
from service.tasks import submit
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest

ALLOW_RESTART = "allow-restart"  # name of the checkbox
ROLLOUT_FIELDS = {"canary": "canary", "batch-size": "batchSize", "max-failures": "maxFailures"}
HOST_FIELD = re.compile(r"host-([0-9]{1,18})")
HOSTS_LIMIT = 500  # hosts in one form; users with more hosts search


async def show_form(request: Request) -> Response:
    """Serve GET /clusters/{id}/takeover. Query parameters with the names of fields fill the form in."""
    resources = requests.resources(request)
    given = dict(request.query_params)
    fields = given if any(HOST_FIELD.fullmatch(name) for name in given) else {}
    cluster = await _cluster(resources, request)
    if fields and cluster.allows_restart:
        fields[ALLOW_RESTART] = "on"
    return await _render_form(request, cluster, fields, None)


async def take_over(request: Request) -> Response:
    """Serve POST /clusters/{id}/takeover: submit the takeovers, or show the form again with the error."""
    return await _submit(request, check=False)


async def check(request: Request) -> Response:
    """Serve POST /clusters/{id}/takeover/check: check the takeovers without changing anything."""
    return await _submit(request, check=True)


async def _submit(request: Request, *, check: bool) -> Response:
    resources = requests.resources(request)
    cluster = await _cluster(resources, request)
    content = await requests.read_body(request.headers, request.receive, resources.settings.body_limit)
    fields = requests.form_fields(content)
    try:
        body = _body(fields, resources)
        submitted = await submit.take_over(
            resources,
            cluster.id,
            [HostRequest(host_id=h.host_id, sql_port=h.sql_port, password=h.proxysys_passwd) for h in body.hosts],
            creator=request.user,
            trace_id=trace_id(request),
            allow_restart=_restart_permission(fields, cluster),
            rollout=body.policy,
            check=check,
        )
    except TakeoverError as error:
        return await _render_form(request, cluster, fields, error)
    ids = [task.id for task, _ in submitted]
    if permitted(request.user.roles, READ_TASK):
        alone = len(ids) == 1 and not check
        page = f"/tasks/{ids[0]}" if alone else f"/requests/{submitted[0][0].request_id}"
        return RedirectResponse(page if check else f"{page}?done=takeover", 303)
    return RedirectResponse(f"/clusters/{cluster.id}/takeover?submitted={','.join(map(str, ids))}", 303)


async def _cluster(resources: Resources, request: Request) -> Cluster:
    cluster_id = requests.path_id(request, "id")
    inventory = await resources.inventory.current()
    if cluster_id not in inventory.clusters:
        raise UnknownCluster(cluster_id=cluster_id)
    return inventory.clusters[cluster_id]


def _body(fields: Mapping[str, str], resources: Resources) -> TakeOverParam:
    """Return the selected hosts and the policy, validated like a request of the API. Raise InvalidRequest."""
    hosts = []
    for name in fields:
        if match := HOST_FIELD.fullmatch(name):
            port, password = fields.get(f"port-{match[1]}", ""), fields.get(f"password-{match[1]}", "")
            value = int(port) if re.fullmatch("[0-9]{1,9}", port) else port
            hosts.append({"hostId": int(match[1]), "sqlPort": value, "proxysysPasswd": password or None})
    rollout = {name: fields[field] for field, name in ROLLOUT_FIELDS.items() if fields.get(field)}
    content = json.dumps({"hosts": hosts, "rollout": rollout or None}).encode()
    return requests.parse_json(content, TakeOverParam, context=TakeOverParam.context(resources.settings.hosts_limit))


def _restart_permission(fields: Mapping[str, str], cluster: Cluster) -> bool | None:
    """Return the permission to restart if it differs from the setting of the OBProxy cluster.

    Return None if it does not: a later change of the cluster's setting then applies to these takeovers and retries.
    """
    allowed = ALLOW_RESTART in fields
    return None if allowed == cluster.allows_restart else allowed


async def _render_form(
    request: Request, cluster: Cluster, fields: Mapping[str, str], error: TakeoverError | None
) -> Response:
    resources = requests.resources(request)
    keyword = request.query_params.get("keyword", "")
    found = await available_hosts.find(resources, keyword)
    submitted = re.findall("[0-9]{1,18}", request.query_params.get("submitted", ""))
    return render(
        request,
        "takeover.html",
        status=STATUS_CODES[error.kind] if error else 200,
        cluster=cluster,
        hosts=found[:HOSTS_LIMIT],
        hosts_not_shown=max(0, len(found) - HOSTS_LIMIT),
        keyword=keyword,
        fields=fields,
        allow_restart=ALLOW_RESTART in fields if fields else cluster.allows_restart,
        subtasks=resources.workflows[TAKEOVER].subtasks,
        error=error.say(error_translator(language_of(request))) if error else "",
        submitted=submitted,
    )
