"""Redacts events before they leave the run's child: keeps the fields that the service reads and masks all secrets.

Text is masked before it is cut, because half a secret at the end of a text would not be found.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from service.outcome import ansible_results, host_changes
from service.outcome.failures import BLOCK_LIMIT, MAX_BLOCKS
from service.outcome.masking import Mask

MARGIN = 4096  # characters beyond what is shown: text is cut there before masking, so that a cut secret is not shown
NAME_LIMIT = 200  # characters of a name
MAX_DEPTH = 2  # nesting of lists and mappings in server facts

_EVENT_FIELDS = ("event", "counter", "job_id", "uuid", "created")
_DATA_FIELDS = (
    *("role", "subtask", "host", "task_uuid", "task_action", "is_conditional", "ignore_errors"),
    *("processed", "failures", "dark"),
)
_RESULT_FIELDS = ("changed", "finished", "rc", "ansible_job_id")
_FACTS = frozenset(("obproxy_server", "obproxy_found"))
_OUTPUT_FIELDS = ("stderr", "module_stderr", "module_stdout")
_IDENTITIES = frozenset(("pid", "version", "architecture", "home", "owner", "package", "start_mode", "exporter_port"))
"""Server facts that are not masked: a password such as `admin` must not change the owner of an OBProxy server."""


def redact(event: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """Return the fields of an event that the service reads, with masked text. The event can have any shape.

    Identifiers of the event are not masked, because a password may equal the name of a role. Text that no_log hides is
    left out.
    """
    data = ansible_results.mapping(event.get("event_data"))
    res = ansible_results.mapping(data.get("res"))
    text = partial(_masked_text, mask)
    redacted = _selected(event, _EVENT_FIELDS)
    if not ansible_results.is_hidden(res):
        redacted["stdout"] = text(event.get("stdout"), ansible_results.RAW_LIMIT)
    redacted["event_data"] = _selected(data, _DATA_FIELDS) | {
        name: text(data[name], NAME_LIMIT) for name in ("name", "task", "delegate") if name in data
    }
    if isinstance(data.get("blocks"), list):
        redacted["event_data"]["blocks"] = [
            ansible_results.clean(block, BLOCK_LIMIT) for block in data["blocks"][:MAX_BLOCKS]
        ]
    if res:
        redacted["event_data"]["res"] = _result(res, mask)
    return redacted


def _result(res: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    redacted, text = _selected(res, _RESULT_FIELDS), partial(_masked_text, mask)
    for name in _FACTS & res.keys():
        redacted[name] = _server_facts(ansible_results.mapping(res[name]), mask)
    if ansible_results.is_hidden(res):
        return redacted | {"censored": True}
    if isinstance(res.get("findings"), list):
        redacted["findings"] = [True] * bool(res["findings"])  # the text is in `msg`
    if res.get("unchecked") is True:
        redacted["unchecked"] = True
    if isinstance(res.get("changes"), list):
        # One more than what is kept, so that the service notices that some are left out.
        redacted["changes"] = [_change(each, mask) for each in res["changes"][: host_changes.MAX_CHANGES + 1]]
    for name in {"msg", "stdout"} & res.keys():
        lines = res[name] if isinstance(res[name], list) else [res[name]]
        redacted[name] = "\n".join(filter(None, (text(line, 2 * ansible_results.MESSAGE_LIMIT) for line in lines)))
    for name in _OUTPUT_FIELDS:
        if isinstance(res.get(name), str):
            redacted[name] = text(res[name][-MARGIN:], MARGIN)
    label = res.get("_ansible_item_label")
    redacted["_ansible_item_label"] = label if isinstance(label, int) else text(label, NAME_LIMIT)
    delegate = ansible_results.mapping(res.get("_ansible_delegated_vars")).get("ansible_delegated_host")
    if delegate is not None:
        redacted["_ansible_delegated_vars"] = {"ansible_delegated_host": text(delegate, NAME_LIMIT)}
    return redacted


def _server_facts(facts: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """Return masked server facts. Control characters stay, so that their validation fails later."""
    return {name: value if name in _IDENTITIES else _masked_fact(value, mask) for name, value in facts.items()}


def _change(value: object, mask: Mask) -> dict[str, object]:
    """Return a change with masked text; a value of another type than text stays invalid."""
    found, limit = ansible_results.mapping(value), host_changes.VALUE_LIMIT
    what, values = found.get("what"), {key: found.get(key) for key in ("before", "after")}
    masked: dict[str, object] = {
        key: _masked_text(mask, of, limit) if isinstance(of, str) else None if of is None else {}
        for key, of in values.items()
    }
    return {
        "what": what[:NAME_LIMIT] if isinstance(what, str) else "",
        "name": _masked_text(mask, found.get("name"), host_changes.NAME_LIMIT),
        "needs_restart": found.get("needs_restart") is True,
        **masked,
    }


def _masked_fact(value: object, mask: Mask, depth: int = MAX_DEPTH) -> object:
    """Return a server fact with masked text; an empty mapping for a type or nesting that no server fact has."""
    match value:
        case str():
            return mask(value)
        case None | int() | float():
            return value
        case list() if depth:
            return [_masked_fact(item, mask, depth - 1) for item in value]
        case dict() if depth:
            return {key: _masked_fact(inner, mask, depth - 1) for key, inner in value.items()}
    return {}


def _masked_text(mask: Mask, value: object, limit: int) -> str:
    return mask(ansible_results.clean(value, limit + MARGIN))


def _selected(mapping: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: mapping[name] for name in names if name in mapping}
