"""Reads results in ansible-runner's events: texts for users, counts, and the authenticity of an event.

The content of an event comes from a managed host. So no value is trusted to have the expected type, size or characters
(docs/reference/ansible-runner.md E.12).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.outcome.masking import without_controls

MESSAGE_LIMIT = 8_000  # characters of one message; messages of assertions are shorter, module results may have 700 kB
TAIL_LIMIT = 600  # characters at the end of a module's stderr: the last line of a traceback has the error
RAW_LIMIT = 1_000_000  # characters of an event's output that are read
HIDDEN = "The result is hidden by no_log."

_HEADLINE_END = re.compile(r"\nOrigin: |\n\n")  # ansible-core prints the message of an error, then its origin
_CORE_PREFIX = "Task failed: "  # redundant in the message of a failed Ansible task


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts the results on the run's host while one role was running."""

    ok: int = 0
    changed: int = 0
    skipped: int = 0
    ignored: int = 0
    failed: int = 0  # without ignore_errors; they were rescued if the run continues
    unreachable: int = 0  # ignored if the run continues
    background: int = 0  # asynchronous and still running

    def add(self, event: Mapping[str, Any]) -> "Tally":
        """Return the counts with the result of one more Ansible task; loop items and polls do not count."""
        data = mapping(event.get("event_data"))
        res = mapping(data.get("res"))
        match event.get("event"):
            case "runner_on_ok" if not validates_arguments(data):
                return replace(
                    self,
                    ok=self.ok + 1,
                    changed=self.changed + (res.get("changed") is True),
                    background=self.background + ("ansible_job_id" in res and res.get("finished") in (0, False)),
                )
            case "runner_on_skipped":
                return replace(self, skipped=self.skipped + 1)
            case "runner_on_failed" if data.get("ignore_errors") is True:
                return replace(self, ignored=self.ignored + 1)
            case "runner_on_failed":
                return replace(self, failed=self.failed + 1)
            case "runner_on_unreachable":
                return replace(self, unreachable=self.unreachable + 1)
        return self

    def notes_on_failure(self) -> list[str]:
        """Return notes about changes before the failure of a role.

        Events do not report handlers that were notified and not run (docs/reference/event-streams.md D.2 case 25).
        """
        if not self.changed:
            return []
        count = f"{self.changed} Ansible task{'s' if self.changed > 1 else ''}"
        return [f"{count} had made changes before; handlers notified by then may not have run."]

    def __str__(self) -> str:
        """Return the counts of a successful role as a sentence, empty without results."""
        counts = {
            "ok": self.ok,
            "changed": self.changed,
            "skipped": self.skipped,
            "ignored": self.ignored + self.unreachable,
            "rescued": self.failed,
            "left running in the background": self.background,
        }
        text = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        if text == f"{self.skipped} skipped":
            return "Nothing was done: all Ansible tasks were skipped."
        return f"Ansible tasks: {text}." if text else ""


EMPTY_TALLY = Tally()

_UNKNOWN_HOST = re.compile(r"(?:Task failed: )?(hostvars\[(['\"].+['\"])\])\.?")


def mapping(value: object) -> Mapping[str, Any]:
    """Return `value` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def clean(value: object, limit: int = MESSAGE_LIMIT) -> str:
    """Return `value` as text without control characters and valid as UTF-8; empty if it is not text."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    # Removing escape sequences shortens text: twice the limit of raw text nearly always fills the limit.
    text = without_controls(value[: 2 * limit])
    return text.encode("utf-8", "replace").decode("utf-8")[:limit]


def paragraph(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return `text` as one line, cut after `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]} …"


def failure_message(event: Mapping[str, Any], items: Iterable[str] = ()) -> str:
    """Return the message of a failed or unreachable result as one line, with its Ansible task and host.

    It has the result's `msg`, the messages of failed loop `items`, the exit code and the end of the module's stderr.
    Without any of them, it has the printed text (docs/reference/event-streams.md D.2 case 55).
    """
    data = mapping(event.get("event_data"))
    res = mapping(data.get("res"))
    text = HIDDEN if is_hidden(res) else expanded(paragraph(" ".join(filter(None, [_text_of(res), *items]))))
    text = text or paragraph(_headline(printed_text(event)), 2 * TAIL_LIMIT) or "No message was given."
    return f"{text} ({_where(data, res)})"


def expanded(message: str) -> str:
    """Return an Ansible message in full: for a host missing in the inventory, Ansible reports only the expression."""
    found = _UNKNOWN_HOST.fullmatch(message.strip())
    return f"{found[1]} is undefined: the inventory has no host {found[2]}" if found else message


def item_message(event: Mapping[str, Any]) -> str:
    """Return the message of a failed loop item, with its label."""
    res = mapping(mapping(event.get("event_data")).get("res"))
    label = res.get("_ansible_item_label")
    name = f"{label}: " if _is_exit_code(label) else f"{clean(label, 100)}: " if clean(label) else ""
    return paragraph(f"{name}{_text_of(res)}", 2 * TAIL_LIMIT)


def printed_text(event: Mapping[str, Any]) -> str:
    """Return the text that Ansible printed for the event, without the result when no_log hides it.

    ansible-core 2.21 prints the message of a failed Ansible task even with no_log.
    """
    data = mapping(event.get("event_data"))
    if is_hidden(mapping(data.get("res"))):
        return f"{clean(event.get('event'), 40)}: [{clean(data.get('host'), 200)}] => {HIDDEN}"
    return clean(event.get("stdout"), RAW_LIMIT).strip("\n")


def is_authentic(event: Mapping[str, Any], token: int) -> bool:
    """Return whether the callback of the run with this token wrote the event.

    Any other event is text that a managed host has made to look like one (docs/reference/ansible-runner.md E.12).
    """
    return event.get("job_id") == token


def subtask(data: Mapping[str, Any]) -> str:
    """Return the subtask that an event belongs to; empty for none.

    An older callback of a run by hand does not name the subtask: it is the role then.
    """
    return clean(data.get("subtask", data.get("role")), 200)


def has_findings(event: Mapping[str, Any]) -> bool:
    """Return whether an ok result in check mode reports rules that do not hold."""
    findings = mapping(mapping(event.get("event_data")).get("res")).get("findings")
    return event.get("event") == "runner_on_ok" and isinstance(findings, list) and bool(findings)


def unchecked_message(event: Mapping[str, Any]) -> str:
    """Return what an ok result in check mode could not check; empty = it has checked everything."""
    res = mapping(mapping(event.get("event_data")).get("res"))
    return paragraph(_message(res)) if res.get("unchecked") is True and event.get("event") == "runner_on_ok" else ""


def finding_message(event: Mapping[str, Any]) -> str:
    """Return the failed rules of an ok result with findings, as one line."""
    return paragraph(_message(mapping(mapping(event.get("event_data")).get("res")))) or "A rule does not hold."


def validates_arguments(data: Mapping[str, Any]) -> bool:
    """Return whether this is Ansible's own task that validates a role's variables (meta/argument_specs.yml)."""
    return clean(data.get("task_action"), 200).endswith("validate_argument_spec")


def has_wrong_arguments(data: Mapping[str, Any]) -> bool:
    """Return whether a failed result reports wrong variables: by Ansible's own task, or by `obproxy_arguments`."""
    return validates_arguments(data) or "argument_errors" in mapping(data.get("res"))


def essential_lines(event: Mapping[str, Any]) -> str:
    """Return the lines of a failed result that no limit may cut from a log: rc and msg."""
    res = mapping(mapping(event.get("event_data")).get("res"))
    rc = f"rc: {res['rc']}\n" if _is_exit_code(res.get("rc")) else ""
    return f"{rc}msg: {_message(res)}"


def _text_of(res: Mapping[str, Any]) -> str:
    return " ".join(filter(None, [_message(res), *([] if is_hidden(res) else _exit(res))]))


def is_hidden(res: Mapping[str, Any]) -> bool:
    """Return whether no_log hides this result or one of its items."""
    items = res.get("results")
    return "censored" in res or (isinstance(items, list) and any("censored" in mapping(item) for item in items))


def _message(res: Mapping[str, Any]) -> str:
    if is_hidden(res):
        return HIDDEN
    msg = res.get("msg")
    lines = [clean(line, 2 * MESSAGE_LIMIT) for line in (msg if isinstance(msg, list) else [msg])]
    return "\n".join(filter(None, lines))[: 2 * MESSAGE_LIMIT].removeprefix(_CORE_PREFIX)


def _exit(res: Mapping[str, Any]) -> list[str]:
    code = [f"Exit code {res['rc']}."] if _is_exit_code(res.get("rc")) and res["rc"] else []
    for key in ("module_stderr", "stderr", "module_stdout"):
        if tail := _tail(res.get(key)):
            return [*code, f"{key}: {tail}"]
    return code


def _is_exit_code(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -255 <= value < 2**31


def _tail(value: object) -> str:
    text = clean(value[-2 * TAIL_LIMIT :]).strip() if isinstance(value, str) else ""
    return text if len(text) <= TAIL_LIMIT else f"… {text[-TAIL_LIMIT:]}"


def _headline(text: str) -> str:
    return _HEADLINE_END.split(text.removeprefix("[ERROR]: ").removeprefix(_CORE_PREFIX))[0]


def _where(data: Mapping[str, Any], res: Mapping[str, Any]) -> str:
    delegate = mapping(res.get("_ansible_delegated_vars")).get("ansible_delegated_host") or data.get("delegate")
    delegate = clean(delegate, 200)
    parts = [
        f'Ansible task "{clean(data.get("task"), 200)}"',
        f"role {clean(data.get('role'), 100)}" if data.get("role") else "",
        f"host {clean(data.get('host'), 200)}",
        f"delegated to {delegate}" if delegate else "",
    ]
    return ", ".join(filter(None, parts))
