"""Page with the form that submits takeovers of hosts of the inventory, and shows what runs on them."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from service.access.roles import READ_TASK, permitted
from service.api.bodies import TakeOverParam
from service.fleet import available_hosts, discoveries
from service.fleet.available_hosts import AvailableHost
from service.fleet.discoveries import DiscoveryState, FailedRule, FoundObproxy, HostDiscovery
from service.http import requests
from service.http.envelope import STATUS_CODES, trace_id
from service.http.languages import error_translator
from service.inventory.records import Cluster
from service.model.errors import NotConfirmed, TakeoverError, UnknownCluster
from service.model.fleet import ServerStatus
from service.model.workflow import TAKEOVER
from service.pages.addresses import Note, with_note
from service.pages.confirmation import CONFIRMED
from service.pages.queries import ChangedRowsQuery
from service.pages.rendering import language_of, render
from service.store.database import fetch
from service.tasks import submit
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest

ALLOW_RESTART = "allow-restart"  # name of the checkbox
ROLLOUT_FIELDS = {"canary": "canary", "batch-size": "batchSize", "max-failures": "maxFailures"}
COMMIT_DELAY = timedelta(seconds=2)  # between the time of a change and its commit
HOST_FIELD = re.compile(r"host-([0-9]{1,18})")


@dataclass(frozen=True, kw_only=True)
class FormHost:
    """A host in the form, with what its last discovery found. `matches`: the search has found it."""

    available: AvailableHost
    discovery: HostDiscovery
    matches: bool

    @property
    def is_managed(self) -> bool:
        """True if an OBProxy of it is managed: another takeover would be rejected."""
        return any(server.status is not ServerStatus.TAKINGOVER for server in self.available.servers)

    @property
    def is_locked(self) -> bool:
        """True if it cannot be selected."""
        return self.is_managed or self.available.busy

    @property
    def unmanaged(self) -> Sequence[FoundObproxy]:
        """The OBProxies that this service does not manage."""
        return [found for found in self.discovery.obproxies if found.server is None]

    @property
    def rules(self) -> Sequence[FailedRule]:
        """The rules that prevent a takeover, each once."""
        every = [*self.discovery.rules, *(rule for found in self.unmanaged for rule in found.rules)]
        return list({rule.rule: rule for rule in every}.values())

    @property
    def sql_port(self) -> int:
        """The SQL port of the only OBProxy found if no rule prevents its takeover, else that of the inventory.

        Any user of the host can start a process with that name, at a port of its own.
        """
        found = self.unmanaged
        return found[0].sql_port if len(found) == 1 and not found[0].rules else self.available.sql_port

    @property
    def qualifies(self) -> bool:
        """True if nothing that was found prevents a takeover."""
        return self._has_one_to_take_over and not self.unmanaged[0].needs_password

    @property
    def needs_password(self) -> bool:
        """True if it qualifies with the current password of root@proxysys."""
        return self._has_one_to_take_over and self.unmanaged[0].needs_password

    @property
    def _has_one_to_take_over(self) -> bool:
        discovered = self.discovery.state is DiscoveryState.DISCOVERED and not self.is_locked
        return discovered and len(self.unmanaged) == 1 and not self.rules


async def show_form(request: Request) -> Response:
    """Serve GET /clusters/{id}/takeover. Query parameters with the names of fields fill the form in."""
    resources = requests.resources(request)
    given = dict(request.query_params)
    fields = given if any(HOST_FIELD.fullmatch(name) for name in given) else {}
    cluster = await _cluster(resources, request)
    if fields and cluster.allows_restart:
        fields[ALLOW_RESTART] = "on"
    return await _render_form(request, cluster, fields, None)


async def list_changed_rows(request: Request) -> Response:
    """Serve GET /clusters/{id}/takeover/rows: the rows that may have changed `since` a moment.

    They are those of hosts whose discovery or task instance has changed since.
    """
    resources = requests.resources(request)
    await _cluster(resources, request)
    since = requests.parse_query(request, ChangedRowsQuery).since
    moment = await _moment(resources)
    after = since - COMMIT_DELAY
    discovered = await discoveries.changed_since(resources, after)
    hosts = await _form_hosts(resources, host_ids={*discovered, *await available_hosts.changed_since(resources, after)})
    return render(request, "takeover_rows.html", hosts=hosts, moment=moment)


async def take_over(request: Request) -> Response:
    """Serve POST /clusters/{id}/takeover: submit the takeovers, or show the form again with the error."""
    return await _submit(request, check=False)


async def check(request: Request) -> Response:
    """Serve POST /clusters/{id}/takeover/check: check the takeovers without changing anything."""
    return await _submit(request, check=True)


async def discover(request: Request) -> Response:
    """Serve POST /clusters/{id}/takeover/discover: request a discovery of the hosts that the search has found."""
    resources = requests.resources(request)
    cluster = await _cluster(resources, request)
    content = await requests.read_body(request.headers, request.receive, resources.settings.body_limit)
    keyword = requests.form_fields(content).get("keyword", "")
    try:
        hosts = await discoveries.matching_hosts(resources, keyword)
        await discoveries.request(resources, [host.id for host in hosts], requester=request.user)
    except TakeoverError as error:
        return await _render_form(request, cluster, {}, error)
    query = f"?{urlencode({'keyword': keyword})}" if keyword else ""
    return RedirectResponse(f"/clusters/{cluster.id}/takeover{query}", 303)


async def _submit(request: Request, *, check: bool) -> Response:
    resources = requests.resources(request)
    cluster = await _cluster(resources, request)
    content = await requests.read_body(request.headers, request.receive, resources.settings.body_limit)
    fields = requests.form_fields(content)
    try:
        if not check and CONFIRMED not in fields:
            raise NotConfirmed
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
        return RedirectResponse(page if check else with_note(request, page, Note(operation=TAKEOVER)), 303)
    address = f"/clusters/{cluster.id}/takeover"
    return RedirectResponse(with_note(request, address, Note(operation=TAKEOVER, task_ids=ids)), 303)


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
    moment = await _moment(resources)
    return render(
        request,
        "takeover.html",
        status=STATUS_CODES[error.kind] if error else 200,
        cluster=cluster,
        hosts=await _form_hosts(resources, keyword),
        moment=moment,
        keyword=keyword,
        fields=fields,
        allow_restart=ALLOW_RESTART in fields if fields else cluster.allows_restart,
        subtasks=resources.workflows[TAKEOVER].subtasks,
        error=error.say(error_translator(language_of(request))) if error else "",
        canonical_address=f"/clusters/{cluster.id}/takeover" if error else "",
    )


async def _moment(resources: Resources) -> datetime:
    """Return the time of the database, before rows are read."""
    async with resources.database.autocommit() as connection:
        (row,) = await fetch(connection, "database_time")
    moment: datetime = row["moment"]
    return moment


async def _form_hosts(
    resources: Resources, keyword: str = "", host_ids: Collection[int] | None = None
) -> list[FormHost]:
    """Return all hosts, or those in `host_ids`. The search hides those that it has not found; their fields stay."""
    found = {host.id for host in await discoveries.matching_hosts(resources, keyword)}
    every = await available_hosts.find(resources, host_ids)
    discovered = await discoveries.of_hosts(resources, [available.host for available in every])
    return [
        FormHost(available=available, discovery=discovery, matches=available.host.id in found)
        for available, discovery in zip(every, discovered, strict=True)
    ]
