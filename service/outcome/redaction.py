"""What of an event leaves its run: what the service reads of it, with every secret in it hidden.

Hiding comes first and cutting later, since half a secret at the end of a text is not found any more.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from service.outcome import ansible_results
from service.outcome.failures import BLOCK_LIMIT, MOST_BLOCKS
from service.outcome.masking import Mask

MARGIN = 4096  # characters beyond what is shown: a text is cut there, where nobody sees what is cut in two
NAME_LIMIT = 200  # characters of a name
DEPTH = 2  # of lists and mappings in each other that an OBProxy server is told by

_MARKS = ("event", "counter", "job_id", "uuid", "created")
_DATA_MARKS = (
    *("role", "subtask", "host", "task_uuid", "task_action", "is_conditional", "ignore_errors"),
    *("processed", "failures", "dark"),
)
_RESULT_MARKS = ("changed", "finished", "rc", "ansible_job_id")
_TAILS = ("stderr", "module_stderr", "module_stdout")
_IDENTITIES = frozenset(("pid", "version", "architecture", "home", "owner", "package", "start_mode", "exporter_port"))
"""What an OBProxy server is known by: true even where somebody has chosen `admin` as the password, too."""


def redact(event: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """What `events`, `results` and `metrics` read of an event of any shape, with its texts masked.

    What only marks the event stays as it is: a password may happen to be the name of a role. Text of a result that
    no_log hides is left out.
    """
    data = ansible_results.mapping(event.get("event_data"))
    res = ansible_results.mapping(data.get("res"))
    tell = partial(_tell, mask)
    told = _picked(event, _MARKS)
    if not ansible_results.is_hidden(res):
        told["stdout"] = tell(event.get("stdout"), ansible_results.RAW_LIMIT)
    told["event_data"] = _picked(data, _DATA_MARKS) | {
        name: tell(data[name], NAME_LIMIT) for name in ("name", "task", "delegate") if name in data
    }
    if isinstance(data.get("blocks"), list):
        told["event_data"]["blocks"] = [
            ansible_results.clean(block, BLOCK_LIMIT) for block in data["blocks"][:MOST_BLOCKS]
        ]
    if res:
        told["event_data"]["res"] = _result(res, mask)
    return told


def _result(res: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    told, tell = _picked(res, _RESULT_MARKS), partial(_tell, mask)
    if "obproxy_server" in res:
        told["obproxy_server"] = _server(ansible_results.mapping(res["obproxy_server"]), mask)
    if ansible_results.is_hidden(res):
        return told | {"censored": True}
    for name in {"msg", "stdout"} & res.keys():
        lines = res[name] if isinstance(res[name], list) else [res[name]]
        told[name] = "\n".join(filter(None, (tell(line, 2 * ansible_results.MESSAGE_LIMIT) for line in lines)))
    for name in _TAILS:
        if isinstance(res.get(name), str):
            told[name] = tell(res[name][-MARGIN:], MARGIN)
    label = res.get("_ansible_item_label")
    told["_ansible_item_label"] = label if isinstance(label, int) else tell(label, NAME_LIMIT)
    delegate = ansible_results.mapping(res.get("_ansible_delegated_vars")).get("ansible_delegated_host")
    if delegate is not None:
        told["_ansible_delegated_vars"] = {"ansible_delegated_host": tell(delegate, NAME_LIMIT)}
    return told


def _server(told: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """Not cleaned: what has control characters in it is not to be believed."""
    return {key: value if key in _IDENTITIES else _believable(value, mask) for key, value in told.items()}


def _believable(value: object, mask: Mask, depth: int = DEPTH) -> object:
    """A value with its texts masked. What is of no kind that `results.KNOWN` has, or nested deeper, is left out."""
    match value:
        case str():
            return mask(value)
        case None | int() | float():
            return value
        case list() if depth:
            return [_believable(item, mask, depth - 1) for item in value]
        case dict() if depth:
            return {key: _believable(inner, mask, depth - 1) for key, inner in value.items()}
    return {}


def _tell(mask: Mask, value: object, limit: int) -> str:
    return mask(ansible_results.clean(value, limit + MARGIN))


def _picked(mapping: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: mapping[name] for name in names if name in mapping}
