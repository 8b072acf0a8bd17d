"""Records what an external run does to one host, in the form in which the takeover service stores it."""

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleError
from ansible.playbook.handler import Handler
from ansible.template import Templar

from .addresses import DEFAULT_SQL_PORT
from .masking import Hidden, is_secret, masked, masker
from .task_position import delegate_of, position

RESULT_KEYS = (  # keys of a result that are reported
    *("msg", "rc", "changed", "finished", "ansible_job_id", "obproxy_server", "changes"),
    *("_ansible_item_label", "module_stderr", "stderr", "module_stdout"),
)
OUTPUT_FORMATS = {
    "ok": "ok: [{host}]",
    "changed": "changed: [{host}]",
    "skipped": "skipping: [{host}]",
    "failed": "fatal: [{host}]: FAILED! => {msg}",
    "ignored": "fatal: [{host}]: FAILED! => {msg}\n...ignoring",
    "unreachable": "fatal: [{host}]: UNREACHABLE! => {msg}",
    "failed item": "failed: [{host}] (item={item}) => {msg}",
}

Json = dict[str, Any]


@dataclass(kw_only=True)
class RunRecorder:
    """Collects the events of one host in a play of the takeover or the rollback."""

    playbook: str
    play: Any
    host: Any
    roles: list[str]  # of the play, in order
    events: list[Json] = field(default_factory=list)
    started_roles: set[str] = field(default_factory=set)
    outcomes: set[str] = field(default_factory=set)  # words of SHOWN
    task: str = ""  # uuid of the running Ansible task

    def add_event(self, event: str, stdout: str, **data: Any) -> None:
        """Add an event in the format of ansible-runner."""
        new = {"event": event, "counter": len(self.events) + 1, "created": _now(), "stdout": stdout}
        self.events.append(new | {"eventData": data})

    def start_task(self, task: Any) -> Json:
        """Return the data common to all events of an Ansible task; add its start event first.

        Each host has its own start event, because the hosts of a play do not finish a task at the same time.
        """
        data = {"task": task.name or task.action, "task_uuid": str(task._uuid), "task_action": task.action}
        data |= position(task)
        is_handler = isinstance(task, Handler)
        if task._role:
            data["role"] = task._role.get_name(include_role_fqcn=False)
        self.started_roles |= {data["subtask"]} if data["subtask"] and not is_handler else set()
        if self.task != data["task_uuid"]:
            self.task = data["task_uuid"]
            name = task.get_name()
            self.add_event("playbook_on_task_start", f"TASK [{name}]", name=name, is_conditional=is_handler, **data)
        return data

    def add_result(self, event: str, outcome: str, result: Any, **more: Any) -> None:
        """Add the event of a result."""
        keys = ("censored", "changed") if "censored" in result.result else RESULT_KEYS
        res = {key: value for key, value in result.result.items() if key in keys}
        name = self.host.get_name()
        item = res.get("_ansible_item_label", "")
        stdout = OUTPUT_FORMATS[outcome].format(host=name, msg=_message_text(res.get("msg")), item=item)
        if result.result.get("_ansible_verbose_always"):  # ansible.builtin.debug
            stdout += f" => {json.dumps(_debug_output(result.result), indent=4, default=str)}"
        delegate = delegate_of(result) if outcome in ("failed", "unreachable") else ""
        self.add_event(event, stdout, host=name, res=res, delegate=delegate, **self.start_task(result.task), **more)
        self.outcomes.add(outcome)

    def end(self, counts: dict[str, int]) -> int:
        """Add the statistics event and return the exit status for this host. Failures of other plays do not count."""
        name = self.host.get_name()
        failed = bool(counts["failures"]) and "failed" in self.outcomes
        dark = bool(counts["unreachable"]) and "unreachable" in self.outcomes
        recap = " ".join(f"{word}={count}" for word, count in counts.items())
        stats = {"processed": {name: 1}, "failures": {name: int(failed)}, "dark": {name: int(dark)}}
        self.add_event("playbook_on_stats", f"PLAY RECAP\n{name} : {recap}", **stats)
        return 2 if failed else 4 if dark else 0

    def as_external_run(self, rc: int | None) -> Json | None:
        """Return the run as the service stores it; None for a host without ocp_host_id, or a run without roles.

        Raises AnsibleError, ValueError and TypeError when a variable is missing or invalid.
        """
        variables = self.play.get_variable_manager().get_vars(play=self.play, host=self.host)
        templar = Templar(loader=self.play.get_loader(), variables=variables)
        host_id = templar.template(variables.get("ocp_host_id"))
        cluster_id = templar.template(variables.get("obproxy_cluster_id"))
        roles = self._roles_of_run(rc)
        if host_id is None or not roles:
            return None
        if cluster_id is None:
            raise ValueError("obproxy_cluster_id is not set: the host is in no OBProxy cluster")
        return {
            "uuid": str(uuid.uuid4()),
            "clusterId": int(cluster_id),
            "hostId": int(host_id),
            "sqlPort": int(templar.template(variables.get("obproxy_sql_port", DEFAULT_SQL_PORT))),
            "hostName": self.host.get_name(),
            "playbook": self.playbook,
            "roles": roles,
            **({} if rc is None else {"rc": rc}),
            "startTime": self.events[0]["created"],
            "finishTime": _now(),
            "events": masked(self.events, masker([_secrets(variables, templar, within=False)])),
        }

    def _roles_of_run(self, rc: int | None) -> list[str]:
        """Return the roles that have started and, after a failure, those that had not started yet.

        Roles before the first one that --start-at-task runs are not part of the run.
        """
        last = max((index for index, role in enumerate(self.roles) if role in self.started_roles), default=-1)
        return [role for i, role in enumerate(self.roles) if role in self.started_roles or (rc != 0 and i > last)]


def _debug_output(result: Json) -> Json:
    return {key: value for key, value in result.items() if not key.startswith("_") and key not in ("changed", "failed")}


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _message_text(msg: Any) -> str:
    return "\n".join(map(str, msg)) if isinstance(msg, list) else str(msg or "")


def _secrets(value: Any, templar: Any, *, within: bool) -> Any:
    """Return the variables that may be secret, templated as in the run; `within` a secret name, all values.

    A variable that cannot be templated is left out: the run had no value for it either.
    """
    match value:
        case dict():
            return {key: _secrets(inner, templar, within=within or is_secret(str(key))) for key, inner in value.items()}
        case list() | tuple():
            return [_secrets(inner, templar, within=within) for inner in value]
        case _ if hasattr(value, "_ciphertext"):  # encrypted by Ansible Vault, whatever its name is
            return _hidden(_templated(value, templar))
        case str() if within:
            return _templated(value, templar)
    return value if within else None


def _hidden(value: Any) -> Any:
    return Hidden(value) if isinstance(value, str) else value


def _templated(value: Any, templar: Any) -> Any:
    try:
        return templar.template(value)
    except AnsibleError:
        return None
