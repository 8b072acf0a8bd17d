"""Record the event streams of cases.yml: `python -m tests.unit.streams.record [CASE...]`, all of them by default.

Runs each case's playbook with ansible-runner on local connections, a few seconds each. CASE.jsonl, next to this file,
gets the end of the run and then one event per line. Values that differ between runs or machines are left out. A second
recording by the same versions of Ansible and ansible-runner gives the same files.
"""

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import ansible_runner
import yaml

from service.inventory.environment import CALLBACK_DIRECTORY
from tests import yaml_files

STREAMS = Path(__file__).parent
ROOT = STREAMS.parents[2]
JOB_ID = 2**61 + 60  # of all recordings; a real run has a secret one

_DEBUG = "- name: Say\n  ansible.builtin.debug: {msg: hello}\n"
# Values that vary, that are the same in every event, or that occur twice.
_DROPPED_OF_EVENTS = {"pid", "created", "runner_ident", "start_line", "end_line", "parent_uuid"}
_DROPPED_OF_DATA = {
    *{"pid", "start", "end", "duration", "remote_addr", "uuid"},
    *{"playbook", "playbook_uuid", "play", "play_pattern", "play_uuid", "task_path", "task_args", "resolved_action"},
}
_DROPPED_OF_RESULTS = {"start", "end", "delta", "invocation", "results_file", "child_pid"}
_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_UNSTABLE = {
    r'"start": "\d{4}-[^"]*"': '"start": "…"',
    r'\\"(start|end|delta)\\": \\"[^"]*\\"': r'\\"\1\\": \\"…\\"',
    r"\bj\d+\.\d+\b": "j1",
    r"/[\w./-]*/\.ansible(_async)?/[\w./-]*": "/tmp/ansible",
}


@cache
def cases() -> dict[str, Any]:
    """Return the content of cases.yml, by case."""
    loaded: dict[str, Any] = yaml_files.load(STREAMS / "cases.yml")
    return loaded


def record(case: dict[str, Any]) -> Iterator[str]:
    """Run a case and yield the lines of its stream."""
    with tempfile.TemporaryDirectory(prefix="stream-") as directory:
        private = Path(directory)
        _write_project(private / "project", case)
        hosts = case.get("hosts", {case.get("host", "h1"): {"ansible_connection": "local"}})
        python = {"ansible_python_interpreter": sys.executable}
        inventory = {"all": {"hosts": {host: python | facts for host, facts in hosts.items()}}}
        (private / "inventory").mkdir()
        (private / "inventory" / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        events: list[dict[str, Any]] = []
        run = ansible_runner.run(
            private_data_dir=directory,
            playbook="site.yml",
            tags=",".join(_tags(case)),
            cmdline=case.get("options"),
            quiet=True,
            envvars={
                **{
                    "PATH": path,
                    "JOB_ID": str(JOB_ID),
                    "ANSIBLE_NOCOLOR": "1",
                    "AWX_LIB_DIRECTORY": str(CALLBACK_DIRECTORY),
                },
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
                **case.get("env", {}),
            },
            # By reference, several lines printed at once would all become the last of them.
            event_handler=lambda event: events.append(json.loads(json.dumps(event))),
            cancel_callback=lambda: False,
        )
        last_lines = "\n".join(event["stdout"] for event in events if event["stdout"])[-2000:]
        end = {"rc": run.rc, "status": run.status, "last_lines": last_lines}
        lines = [json.dumps(line, ensure_ascii=False, sort_keys=True) for line in (end, *map(_compact, events))]
        yield from _normalized("\n".join(lines), private).splitlines()


def _tags(case: dict[str, Any]) -> list[str]:
    tags: list[str] = case.get("tags", ["before", "step", "after"])
    return tags


def _write_project(project: Path, case: dict[str, Any]) -> None:
    play = {
        "hosts": "all",
        "gather_facts": False,
        "pre_tasks": [{"name": "Discover", "ansible.builtin.debug": {"msg": "found"}, "tags": "always"}],
        "roles": [{"role": role, "tags": role} for role in ("before", "step", "after")],
        **case.get("play", {}),
    }
    files = {
        "site.yml": yaml.safe_dump([play, *case.get("plays", [])], sort_keys=False),
        "roles/before/tasks/main.yml": _DEBUG,
        "roles/step/tasks/main.yml": yaml.safe_dump(case.get("step", []), sort_keys=False),
        "roles/after/tasks/main.yml": _DEBUG,
        **case.get("files", {}),
    }
    for path, text in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text, encoding="utf-8")


def _compact(event: dict[str, Any]) -> dict[str, Any]:
    event = _without(event, _DROPPED_OF_EVENTS)
    if "event_data" in event:
        data = _without(event["event_data"], _DROPPED_OF_DATA)
        event["event_data"] = {key: value for key, value in data.items() if value is not None}
    if "res" in event.get("event_data", {}):
        res = event["event_data"]["res"] = _without(data["res"], _DROPPED_OF_RESULTS)
        if "results" in res:
            res["results"] = [_without(item, _DROPPED_OF_RESULTS) for item in res["results"]]
    return event


def _without(value: dict[str, Any], dropped: set[str]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in dropped}


def _normalized(text: str, private: Path) -> str:
    for path, name in ((private / "project", "/project"), (private, "/run"), (sys.executable, "/usr/bin/python3")):
        text = text.replace(str(path), name)
    text = text.replace(sys.prefix, "/usr").replace(sys.base_prefix, "/usr")
    for pattern, instead in _UNSTABLE.items():
        text = re.sub(pattern, instead, text)
    names: dict[str, str] = {}
    return _UUID.sub(lambda match: names.setdefault(match[0], f"uuid-{len(names) + 1}"), text)


def main(names: list[str]) -> None:
    """Record the cases with these names, or all that can be recorded."""
    for name, case in cases().items():
        if (names and name not in names) or "built" in case or "impossible" in case:
            continue
        lines = list(record(case))
        (STREAMS / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{name}: {len(lines) - 1} events, {lines[0][:100]}")


if __name__ == "__main__":
    main(sys.argv[1:])
