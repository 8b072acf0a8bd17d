"""Changes on a host as an action reports them, without secrets."""

from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils import changes
from ansible_collections.obproxy.takeover.plugins.module_utils.parameter_values import Difference

STATE = "/var/lib/obproxy-takeover"
WANTED = {"text": "new", "signature": "# written by the takeover"}


def reported(what: str, name: str, before: str | None, after: str | None, needs_restart: bool = False) -> Any:
    return {"what": what, "name": name, "before": before, "after": after, "needs_restart": needs_restart}


@pytest.mark.parametrize("needs_restart", [True, False])
def test_a_parameter_has_its_former_and_its_desired_value(needs_restart: bool) -> None:
    difference = Difference(name="work_thread_num", before="4", after="8", needs_restart=needs_restart)
    assert changes.parameter_change(difference) == reported("parameter", "work_thread_num", "4", "8", needs_restart)


def test_a_password_has_no_value() -> None:
    assert changes.password_change("obproxy_sys_password") == reported("password", "obproxy_sys_password", "***", "***")


@pytest.mark.parametrize(("name", "shown"), [("work_thread_num", "8"), ("obproxy_sys_password", "***")])
def test_what_a_rollback_leaves_has_the_value_that_stays(name: str, shown: str) -> None:
    assert changes.not_restored(name, "8") == reported("not_restored", name, shown, shown)


@pytest.mark.parametrize(
    ("before", "pid", "former", "now"),
    [
        (None, 7, None, "pid 7"),
        ({"pid": 6}, 7, "pid 6", "pid 7"),
        ({"pid": 6}, None, "pid 6", "a new process"),
    ],
)
def test_a_start_has_the_former_and_the_new_process(
    before: dict[str, int] | None, pid: int | None, former: str | None, now: str
) -> None:
    assert changes.process_change(before, pid) == reported("process", "obproxy", former, now)


def test_a_failed_start_lists_the_processes_that_it_has_ended_and_left() -> None:
    assert changes.failed_start_changes([7, 8], 9) == [
        reported("process", "obproxy", None, "pid 7"),
        reported("process", "obproxy", "pid 7", None),
        reported("process", "obproxy", None, "pid 8"),
        reported("process", "obproxy", "pid 8", None),
        reported("process", "obproxy", None, "pid 9"),
    ]
    assert changes.failed_start_changes([], None) == []


@pytest.mark.parametrize(
    ("path", "before", "after", "file", "change"),
    [
        ("/etc/obproxy", "old", "new", WANTED, ("file", "present", "new")),  # another program's content is not shown
        (
            "/etc/obproxy",
            "# written by the takeover\nold",
            None,
            WANTED,
            ("file", "# written by the takeover\nold", None),
        ),
        ("/etc/obproxy", None, "new", {"text": "new"}, ("file", None, "new")),
        ("/etc/obproxy", "old", None, {"text": "new"}, ("file", "present", None)),
        ("/etc/facts.d", "", None, None, ("directory", "present", None)),
        (f"{STATE}/before.json", None, "secret", WANTED, ("record", None, "present")),
        (f"{STATE}/before.json", "secret", "other", WANTED, ("record", "present", "rewritten")),
        (f"{STATE}/before.json", "secret", None, WANTED, ("record", "present", None)),
        (f"{STATE}/more/file", None, "new", WANTED, ("file", None, "new")),
    ],
)
def test_a_file_has_its_content_only_if_the_takeover_has_written_it(
    path: str, before: str | None, after: str | None, file: dict[str, str] | None, change: tuple[str, str, str]
) -> None:
    what, shown_before, shown_after = change
    converged = {"path": path, "before": before, "after": after}
    assert changes.file_change(converged, file, f"{STATE}/") == reported(what, path, shown_before, shown_after)
