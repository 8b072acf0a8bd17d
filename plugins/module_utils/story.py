"""What a run that was started by hand did to one host, as the takeover service wants to be told of it."""

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleError
from ansible.playbook.handler import Handler
from ansible.template import Templar

from .masking import Hidden, is_secret, masked, masker
from .position import delegate_of, position

TOLD = (  # of a result
    *("msg", "rc", "changed", "finished", "ansible_job_id", "censored", "obproxy_server", "_ansible_item_label"),
    *("module_stderr", "stderr", "module_stdout"),
)
SHOWN = {
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
class Story:
    """What one of our plays does to one host."""

    playbook: str
    play: Any
    host: Any
    roles: list[str]  # that the play is to run, in order
    events: list[Json] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)  # roles that have begun
    outcomes: set[str] = field(default_factory=set)  # words of SHOWN
    task: str = ""  # uuid of the Ansible task that is running

    def tell(self, event: str, stdout: str, **data: Any) -> None:
        """Add an event in ansible-runner's shape."""
        told = {"event": event, "counter": len(self.events) + 1, "created": _now(), "stdout": stdout}
        self.events.append(told | {"eventData": data})

    def enter(self, task: Any) -> Json:
        """What every event of an Ansible task carries. Its start is told first, of this host: in a play of several
        hosts one is through when others go on."""
        data = {"task": task.name or task.action, "task_uuid": str(task._uuid), "task_action": task.action}
        data |= position(task)
        is_handler = isinstance(task, Handler)
        if task._role:
            data["role"] = task._role.get_name(include_role_fqcn=False)
        self.seen |= {data["subtask"]} if data["subtask"] and not is_handler else set()
        if self.task != data["task_uuid"]:
            self.task = data["task_uuid"]
            name = task.get_name()
            self.tell("playbook_on_task_start", f"TASK [{name}]", name=name, is_conditional=is_handler, **data)
        return data

    def take(self, event: str, outcome: str, result: Any, **more: Any) -> None:
        """Add a result."""
        told = ("censored", "changed") if "censored" in result.result else TOLD
        res = {key: value for key, value in result.result.items() if key in told}
        name = self.host.get_name()
        said = SHOWN[outcome].format(host=name, msg=_lines(res.get("msg")), item=res.get("_ansible_item_label", ""))
        if result.result.get("_ansible_verbose_always"):  # ansible.builtin.debug: made to be read
            said += f" => {json.dumps(_said(result.result), indent=4, default=str)}"
        delegate = delegate_of(result) if outcome in ("failed", "unreachable") else ""
        self.tell(event, said, host=name, res=res, delegate=delegate, **self.enter(result.task), **more)
        self.outcomes.add(outcome)

    def end(self, counts: dict[str, int]) -> int:
        """Add Ansible's statistics of the host; the exit status that they mean. Other plays' failures are not ours."""
        name = self.host.get_name()
        failed = bool(counts["failures"]) and "failed" in self.outcomes
        dark = bool(counts["unreachable"]) and "unreachable" in self.outcomes
        recap = " ".join(f"{word}={count}" for word, count in counts.items())
        stats = {"processed": {name: 1}, "failures": {name: int(failed)}, "dark": {name: int(dark)}}
        self.tell("playbook_on_stats", f"PLAY RECAP\n{name} : {recap}", **stats)
        return 2 if failed else 4 if dark else 0

    def as_run(self, rc: int | None) -> Json | None:
        """What the service wants to know; None when it knows no such host, or the run had nothing to do for it.

        Raises AnsibleError, ValueError and TypeError when a variable is missing or wrong.
        """
        variables = self.play.get_variable_manager().get_vars(play=self.play, host=self.host)
        templar = Templar(loader=self.play.get_loader(), variables=variables)
        host_id = templar.template(variables.get("ocp_host_id"))
        cluster_id = templar.template(variables.get("obproxy_cluster_id"))
        roles = self._ran(rc)
        if host_id is None or not roles:
            return None
        if cluster_id is None:
            raise ValueError("it is in no OBProxy cluster: obproxy_cluster_id is not set")
        return {
            "uuid": str(uuid.uuid4()),
            "clusterId": int(cluster_id),
            "hostId": int(host_id),
            "sqlPort": int(templar.template(variables.get("obproxy_sql_port", 2883))),
            "hostName": self.host.get_name(),
            "playbook": self.playbook,
            "roles": roles,
            **({} if rc is None else {"rc": rc}),
            "startTime": self.events[0]["created"],
            "finishTime": _now(),
            "events": masked(self.events, masker([_secrets(variables, templar, within=False)])),
        }

    def _ran(self, rc: int | None) -> list[str]:
        """The roles that have begun and, unless it ended well, those that were still to: --start-at-task leaves out
        roles that the play seemed to have."""
        last = max((index for index, role in enumerate(self.roles) if role in self.seen), default=-1)
        return [role for i, role in enumerate(self.roles) if role in self.seen or (rc != 0 and i > last)]


def _said(result: Json) -> Json:
    return {key: value for key, value in result.items() if not key.startswith("_") and key not in ("changed", "failed")}


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _lines(msg: Any) -> str:
    return "\n".join(map(str, msg)) if isinstance(msg, list) else str(msg or "")


def _secrets(value: Any, templar: Any, *, within: bool) -> Any:
    """Return what may be secret of variables, as the run saw it; `within` a secret name, that is everything.

    A variable that has no value is left out: it had none in the run either.
    """
    match value:
        case dict():
            return {key: _secrets(inner, templar, within=within or is_secret(str(key))) for key, inner in value.items()}
        case list() | tuple():
            return [_secrets(inner, templar, within=within) for inner in value]
        case _ if hasattr(value, "_ciphertext"):  # encrypted by itself, whatever its name is
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
