"""What one Ansible result says: to a person, and to the service about the OBProxy server.

Everything here comes from a managed host in the end, so nothing is trusted to have the type, the size or the
characters that it should have (docs/reference/ansible-runner.md E.12).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.outcome.masking import without_controls

MESSAGE_LIMIT = 8_000  # characters of one message: an assertion's is far below, a module's return value may be 700 kB
TAIL_LIMIT = 600  # characters of a module's stderr, the end of it: tracebacks have their point in the last line
RAW_LIMIT = 1_000_000  # characters of an event's output that are looked at
MOST_PARAMETERS = 1000  # of one OBProxy; 4.3.1 has 306
PARAMETERS_LIMIT = 200_000  # characters of all of them; 4.3.1 has 10 000 in names and values, 30 000 in definitions
HIDDEN = "The result is hidden by no_log."

_HEADLINE_END = re.compile(r"\nOrigin: |\n\n")  # of what ansible-core prints for an error: its message, then where
_CORE_PREFIX = "Task failed: "  # says nothing where a failed Ansible task is what is told of
_PARAMETER = re.compile("[A-Za-z_][A-Za-z0-9_]{0,127}")
_VERSION = re.compile(r"\d+(?:\.\d+){1,5}-\w[\w.]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Results on our host while one role was running."""

    ok: int = 0
    changed: int = 0
    skipped: int = 0
    ignored: int = 0
    failed: int = 0  # and not marked as ignored: rescued, if the run goes on
    unreachable: int = 0  # ignored, if the run goes on
    background: int = 0  # started and left running

    def add(self, event: Mapping[str, Any]) -> "Tally":
        """With the result of one more Ansible task; items of loops and polls are no results."""
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

    def left_behind(self) -> list[str]:
        """What a person should know of a role that has failed, beyond the failure: events do not tell of handlers that
        were notified and dropped (docs/reference/event-streams.md D.2 case 25)."""
        if not self.changed:
            return []
        count = f"{self.changed} Ansible task{'s' if self.changed > 1 else ''}"
        return [f"{count} had changed something before; handlers notified by then may not have run."]

    def __str__(self) -> str:
        """The tally of a role that ended well, as a sentence; empty if there is nothing to tell."""
        counts = {
            "ok": self.ok,
            "changed": self.changed,
            "skipped": self.skipped,
            "ignored": self.ignored + self.unreachable,
            "rescued": self.failed,
            "left running in the background": self.background,
        }
        told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        if told == f"{self.skipped} skipped":
            return "Nothing was done: all Ansible tasks were skipped."
        return f"Ansible tasks: {told}." if told else ""


NOTHING = Tally()

_UNKNOWN_HOST = re.compile(r"(?:Task failed: )?(hostvars\[(['\"].+['\"])\])\.?")


def _integer(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


_is_exit_code = _integer(-255, 2**31 - 1)
_is_port = _integer(1, 65535)


def mapping(value: object) -> Mapping[str, Any]:
    """`value` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def clean(value: object, limit: int = MESSAGE_LIMIT) -> str:
    """`value` as text that a terminal, a page and a UTF-8 database take; empty if it is not text at all."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    # Escape sequences only make text shorter: a raw text of twice the limit nearly always fills it.
    text = without_controls(value[: 2 * limit])
    return text.encode("utf-8", "replace").decode("utf-8")[:limit]


def paragraph(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """`text` on one line, as one paragraph."""
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]} …"


def failure(event: Mapping[str, Any], items: Iterable[str] = ()) -> str:
    """The message of a failed or unreachable result, as one paragraph, with the Ansible task and the host it failed on.

    It is the result's `msg`, what failed `items` of a loop said, the exit code and the end of the module's stderr; what
    was printed when the result has none of them (docs/reference/event-streams.md D.2 case 55).
    """
    data = mapping(event.get("event_data"))
    res = mapping(data.get("res"))
    text = HIDDEN if is_hidden(res) else explained(paragraph(" ".join(filter(None, [_said(res), *items]))))
    text = text or paragraph(_headline(printed(event)), 2 * TAIL_LIMIT) or "No message was given."
    return f"{text} ({_where(data, res)})"


def explained(message: str) -> str:
    """Return a message of Ansible in full: of a host that the inventory does not have, it only says the expression."""
    found = _UNKNOWN_HOST.fullmatch(message.strip())
    return f"{found[1]} is undefined: the inventory has no host {found[2]}" if found else message


def item(event: Mapping[str, Any]) -> str:
    """What a failed item of a loop says."""
    res = mapping(mapping(event.get("event_data")).get("res"))
    label = res.get("_ansible_item_label")
    name = f"{label}: " if _is_exit_code(label) else f"{clean(label, 100)}: " if clean(label) else ""
    return paragraph(f"{name}{_said(res)}", 2 * TAIL_LIMIT)


def printed(event: Mapping[str, Any]) -> str:
    """What Ansible printed for the event, for the log; without the result if that is hidden.

    ansible-core 2.21 prints the message of a failed Ansible task above its result, whatever no_log says.
    """
    data = mapping(event.get("event_data"))
    if is_hidden(mapping(data.get("res"))):
        return f"{clean(event.get('event'), 40)}: [{clean(data.get('host'), 200)}] => {HIDDEN}"
    return clean(event.get("stdout"), RAW_LIMIT).strip("\n")


def is_authentic(event: Mapping[str, Any], token: int) -> bool:
    """Return whether the callback of the run with this token wrote the event. All else is text that a managed host
    made to look like one (docs/reference/ansible-runner.md E.12)."""
    return event.get("job_id") == token


def subtask(data: Mapping[str, Any]) -> str:
    """Return the subtask that an event belongs to; empty for none. Where the run's callback does not name it, as in a
    run by hand with an older one, it is the role."""
    return clean(data.get("subtask", data.get("role")), 200)


def validates_arguments(data: Mapping[str, Any]) -> bool:
    """Whether this is Ansible's own task that holds a role's variables against its meta/argument_specs.yml."""
    return clean(data.get("task_action"), 200).endswith("validate_argument_spec")


def vital(event: Mapping[str, Any]) -> str:
    """The lines of a failed result that no limit may cut from a log: rc and msg."""
    res = mapping(mapping(event.get("event_data")).get("res"))
    rc = f"rc: {res['rc']}\n" if _is_exit_code(res.get("rc")) else ""
    return f"{rc}msg: {_message(res)}"


def _said(res: Mapping[str, Any]) -> str:
    return " ".join(filter(None, [_message(res), *([] if is_hidden(res) else _exit(res))]))


def is_hidden(res: Mapping[str, Any]) -> bool:
    """Whether no_log hides this result, or that of one of its items."""
    items = res.get("results")
    return "censored" in res or (isinstance(items, list) and any("censored" in mapping(item) for item in items))


def _message(res: Mapping[str, Any]) -> str:
    if is_hidden(res):
        return HIDDEN
    msg = res.get("msg")
    lines = [clean(line, 2 * MESSAGE_LIMIT) for line in (msg if isinstance(msg, list) else [msg])]
    return "\n".join(filter(None, lines))[: 2 * MESSAGE_LIMIT].removeprefix(_CORE_PREFIX)


def _exit(res: Mapping[str, Any]) -> list[str]:
    said = [f"Exit code {res['rc']}."] if _is_exit_code(res.get("rc")) and res["rc"] else []
    for key in ("module_stderr", "stderr", "module_stdout"):
        if tail := _tail(res.get(key)):
            return [*said, f"{key}: {tail}"]
    return said


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


def learned(event: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What an ok result tells about the OBProxy server, and the names of what it tells but nobody can believe."""
    told = mapping(mapping(mapping(event.get("event_data")).get("res")).get("obproxy_server"))
    believed = {key: value for key, value in told.items() if key in KNOWN and KNOWN[key](value)}
    return believed, [clean(key, 60) or repr(type(key)) for key in told if key not in believed]


def _text(limit: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and 0 < len(value) <= limit and _is_line(value)


def _is_line(value: str) -> bool:
    # What can be printed needs no cleaning; there are a thousand texts about the parameters of one OBProxy.
    return value.isprintable() or (clean(value, len(value)) == value and "\n" not in value)


def _texts(count: int, limit: int) -> Callable[[object], bool]:
    is_text = _text(limit)
    return lambda value: isinstance(value, list) and len(value) <= count and all(map(is_text, value))


def _map(is_value: Callable[[object], bool]) -> Callable[[object], bool]:
    """Of parameters by name; `MOST_PARAMETERS` of them with `PARAMETERS_LIMIT` characters in all."""
    return lambda value: (
        isinstance(value, dict)
        and len(value) <= MOST_PARAMETERS
        and all(isinstance(name, str) and _PARAMETER.fullmatch(name) and is_value(of) for name, of in value.items())
        and sum(len(name) + len(str(of)) for name, of in value.items()) <= PARAMETERS_LIMIT
    )


def _setting(limit: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and len(value) <= limit and _is_line(value)


def _is_definition(value: object) -> bool:
    """[description, needs a restart, range, read-only]"""
    if not isinstance(value, list) or len(value) != 4:
        return False
    description, needs_restart, allowed, read_only = value
    flags = isinstance(needs_restart, bool) and isinstance(read_only, bool)
    return flags and _setting(1000)(description) and _setting(200)(allowed)


KNOWN: Mapping[str, Callable[[object], bool]] = {
    "pid": _integer(1, 2**31 - 1),
    "version": lambda value: isinstance(value, str) and bool(_VERSION.fullmatch(value)),
    "architecture": _text(32),
    "home": lambda value: isinstance(value, str) and value.startswith("/") and _text(4096)(value),
    "owner": _text(128),
    "package": lambda value: value is None or _text(256)(value),
    "start_mode": lambda value: value in ("config_url", "rs_list"),
    "exporter_port": lambda value: value is None or _is_port(value),  # None: it is no target any more
    "supervised": lambda value: isinstance(value, bool),
    "pending_restart": _texts(500, 128),
    "drift": _texts(100, 2000),
    "managed_by": _text(256),
    "parameters": _map(_setting(4096)),
    "parameter_definitions": _map(_is_definition),
}
