"""What leaves a run tells the same about its subtasks as the run's events, and no secret."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from service.outcome import ansible_results
from service.outcome.masking import MASK, masker
from service.outcome.redaction import excerpt
from service.outcome.run_progress import EVENT_LIMIT, Ended, Learned, Logged, RunEnd, Verdict
from tests.unit.streams.record import JOB_ID
from tests.unit.streams.replay import Event, Stream, load, replay
from tests.unit.test_events_properties import NAMES, ROLES, SEEDS, rubbish

NEEDLE = "Needle#1"
mask = masker([{"password": NEEDLE}])


def through(stream: Stream, hide: Callable[[str], str] = str) -> Stream:
    return replace(stream, events=[excerpt(ansible_results.mapping(event), hide) for event in stream.events])


@pytest.mark.parametrize("name", NAMES)
def test_excerpts_tell_what_the_events_tell(name: str) -> None:
    stream = load(name)
    assert replay(through(stream), job_id=JOB_ID) == replay(stream, job_id=JOB_ID)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_so_do_those_of_rubbish(seed: int) -> None:
    stream = Stream(roles=ROLES, host="h1", events=rubbish(random.Random(seed)), end=RunEnd(rc=2, status="failed"))
    assert replay(through(stream)) == replay(stream)


def event(kind: str, stdout: str = "", **data: Any) -> Event:
    about = {"role": "one", "host": "h1", "task": "Do it", "task_action": "debug", "task_uuid": "u"}
    return {"event": kind, "stdout": stdout, "event_data": about | data}


def told(*events: Event, hide: Callable[[str], str] = mask) -> list[Any]:
    begun: list[Event] = [{"event": "playbook_on_start", "event_data": {}}, *events]
    return list(
        replay(through(Stream(roles=["one"], host="h1", events=begun, end=RunEnd(rc=2, status="failed")), hide))
    )


def anywhere(secret: str) -> Event:
    server = {"pid": 1, "drift": [f"is {secret}"], "managed_by": secret, "odd": {"a": secret}}
    res = {
        "msg": ["a", f"b{secret}"],
        "stderr": f"{secret}\n{secret}",
        "module_stdout": secret,
        "stdout": secret,
        "_ansible_item_label": secret,
        "_ansible_delegated_vars": {"ansible_delegated_host": secret},
        "invocation": {"module_args": {"password": secret}},
        "ansible_facts": {"x": [secret]},
        "obproxy_server": server,
    }
    data = {"task": f"Set {secret}", "name": f"Set {secret}", "task_args": secret, "res": res, "play_pattern": secret}
    return event("runner_on_failed", f"failed: {secret}", **data) | {"runner_ident": secret}


def test_no_text_of_an_event_tells_a_secret() -> None:
    shown = repr(excerpt(anywhere(NEEDLE), mask))
    assert NEEDLE not in shown
    assert shown.count(MASK) >= 10


def test_half_a_secret_at_the_end_of_what_is_shown_is_hidden_as_well() -> None:
    for before in range(EVENT_LIMIT - len(NEEDLE), EVENT_LIMIT + 1):
        (log,) = [c.text for c in told(event("runner_on_ok", "." * before + NEEDLE)) if isinstance(c, Logged)]
        assert "N" not in log.split("[cut")[0]


def test_what_only_looks_like_a_secret_marks_the_event_all_the_same() -> None:
    """A password may be the name of a role, or a word of Ansible's."""
    weak = masker([{"a_password": "runner_on_ok", "b_password": "admin", "c_token": "censored", "d_secret": "h1h1"}])
    server = {"owner": "admin", "home": "/home/admin/obproxy", "drift": ["owner is admin"]}
    changes = told(event("runner_on_ok", "ok: admin", res={"obproxy_server": server}), hide=weak)

    (learned,) = [change.values for change in changes if isinstance(change, Learned)]
    assert learned == {"owner": "admin", "home": "/home/admin/obproxy", "drift": [f"owner is {MASK}"]}
    assert [change.text for change in changes if isinstance(change, Logged)] == [f"ok: {MASK}"]


def test_parameters_of_an_obproxy_are_told_without_secrets() -> None:
    parameters = {"app_name": f"http://u:{NEEDLE}@192.0.2.1", "work_thread_num": "4"}
    definitions = {"app_name": [f"as in {NEEDLE}", True, "", False]}
    server = {"parameters": parameters, "parameter_definitions": definitions}

    changes = told(event("runner_on_ok", res={"obproxy_server": server}))

    (learned,) = [change.values for change in changes if isinstance(change, Learned)]
    assert learned == {
        "parameters": {"app_name": f"http://u:{MASK}@192.0.2.1", "work_thread_num": "4"},
        "parameter_definitions": {"app_name": [f"as in {MASK}", True, "", False]},
    }


@pytest.mark.parametrize("res", [{"censored": "…"}, {"results": [{"censored": "…"}]}])
def test_what_no_log_hides_does_not_leave_the_run(res: Mapping[str, Any]) -> None:
    shown = excerpt(event("runner_on_failed", "printed all the same", res={**res, "msg": "said all the same"}), str)

    assert "all the same" not in repr(shown)
    (*_, last) = told(event("runner_on_failed", "printed all the same", res=res))
    assert isinstance(last, Ended) and last.verdict is Verdict.FAILED and ansible_results.HIDDEN in last.message
