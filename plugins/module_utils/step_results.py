"""Merges the results of several actions into the result of one Ansible task."""

from collections.abc import Sequence
from typing import Any

Result = dict[str, Any]
_LISTS = ("changes", "findings", "stays")
_DICTIONARIES = ("ansible_facts", "obproxy_server")
# A result is reported as the worst of its steps, and only the messages of such steps are its `msg`.
_WORST_FIRST = ("unreachable", "failed", "findings", "unchecked")


def merged(results: Sequence[Result]) -> Result:
    """Return one result. A later value replaces an earlier one; lists, facts and messages are joined."""
    whole = {key: value for result in results for key, value in result.items()}
    whole["changed"] = any(result.get("changed") for result in results)
    whole |= {key: joined for key in _LISTS if (joined := [one for result in results for one in result.get(key, ())])}
    if sum("diff" in result for result in results) > 1:
        whole["diff"] = [diff for result in results for diff in _diffs(result)]
    for key in _DICTIONARIES:
        if entries := {name: value for result in results for name, value in (result.get(key) or {}).items()}:
            whole[key] = entries
    return whole | _messages(results, whole)


def _diffs(result: Result) -> list[Any]:
    diff = result.get("diff", [])
    return diff if isinstance(diff, list) else [diff]


def _messages(results: Sequence[Result], whole: Result) -> Result:
    worst = next((key for key in _WORST_FIRST if whole.get(key)), None)
    told = [result for result in results if result.get("msg")]
    main = [result["msg"] for result in told if worst is None or result.get(worst)]
    others = [result["msg"] for result in told if worst is not None and not result.get(worst)]
    return {key: value for key, value in {"msg": "\n".join(main), "other_messages": others}.items() if value}
