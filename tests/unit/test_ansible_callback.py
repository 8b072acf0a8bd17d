"""What the callback plugin tells of a run by hand, and how: the story, the request, and all that can fail."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import trust_as_template
from ansible_collections.obproxy.takeover.plugins.module_utils.story import Story
from ansible_collections.obproxy.takeover.plugins.module_utils.telling import (
    LARGEST,
    NotReached,
    Refused,
    Service,
    fitting,
)

from service.access.request_signatures import SignedRequest, verify
from service.outcome import run_progress
from service.outcome.run_progress import Ended, RunEnd, Verdict

KEY, SECRET = "0123456789abcdef", "a secret, ü"
VARIABLES = {
    "ocp_host_id": 1,
    "obproxy_cluster_id": trust_as_template("{{ 3 + 4 }}"),
    "obproxy_sys_password": trust_as_template("{{ vault }}"),
    "vault": "Proxysys#1",
    "some_token": trust_as_template("{{ no_such_variable }}"),
}


def service(url: str, time_limit: float = 30.0) -> Service:
    return Service(url=url, key=KEY, secret=SECRET, time_limit=time_limit)


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[str]:
    """The URL of something that answers every POST like that."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "body"), [("/api/v2/x", b'{"a": 1}'), ("/api/v2/x?page=1&size=10", None)])
@pytest.mark.parametrize("url", ["http://192.0.2.1:8080", "https://takeover.example.com/", "http://h/behind/proxy"])
def test_the_service_accepts_the_signature(url: str, path: str, body: bytes | None) -> None:
    request = service(url).request(path, body)

    scheme, _, credentials = str(request.get_header("Authorization")).partition(" ")
    key, _, signature = credentials.partition(":")
    received = SignedRequest(
        method=request.get_method(),
        path=urlsplit(request.full_url).path.encode(),
        query=urlsplit(request.full_url).query.encode(),
        headers=[(name.lower().encode(), value.encode()) for name, value in request.header_items()],
        body=body or b"",
    )
    assert (scheme, key) == ("OCP-ACCESS-KEY-HMACSHA1", KEY)
    assert verify(received, signature, SECRET, datetime.now(UTC))
    assert not verify(received, signature, SECRET + "x", datetime.now(UTC))
    assert SECRET not in repr(service(url))


def test_the_answer_is_the_task_instances_id() -> None:
    with answering(200, b'{"data": {"id": 7}}') as url:
        assert service(url).tell({}) == 7


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (409, b'{"error": {"message": "Host 1 already has a running task instance: 4."}}', "Host 1 already has"),
        (502, b"<html>Bad gateway</html>", "HTTP status 502"),
        (413, b'{"error": null}', "HTTP status 413"),
        (302, b"", "HTTP status 302"),
    ],
)
def test_a_refusal_is_the_services_own_sentence(status: int, body: bytes, expected: str) -> None:
    with answering(status, body, Location="http://127.0.0.1:9/") as url, pytest.raises(Refused, match=expected):
        service(url).tell({})


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data": {"id": "x"}}', b'{"data": null}', b"\xff"])
def test_who_answers_something_else_is_not_the_service(body: bytes) -> None:
    with answering(200, body) as url, pytest.raises(NotReached, match="is not the takeover service"):
        service(url).tell({})


def test_a_service_that_is_not_there_is_said() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(NotReached, match="refused"):
            service(f"http://127.0.0.1:{closed.getsockname()[1]}").tell({})


def test_a_service_that_is_silent_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(NotReached, match=r"no answer within 0\.1 s"):
        service(f"http://127.0.0.1:{silent.getsockname()[1]}", time_limit=0.1).tell({})


@pytest.mark.parametrize("url", ["", "takeover", "file:///etc/passwd", "http://", "http://[", "http://h:port"])
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(NotReached):
        service(url).tell({})


def test_long_texts_are_cut_until_the_whole_is_small_enough() -> None:
    texts = [{"stdout": "x" * 100_000, "counter": counter} for counter in range(100)]

    body = fitting({"events": texts})

    assert len(body) <= LARGEST
    cut = json.loads(body)["events"][99]
    assert cut["counter"] == 99 and cut["stdout"].endswith("x [cut: 96000 characters more]")
    assert json.loads(fitting({"a": "x" * 16_000})) == {"a": "x" * 16_000}


def test_whatever_it_is_becomes_json_that_the_service_reads() -> None:
    strange: dict[Any, Any] = {1: ("\ud800", {2.5}, None, True, b"\xff"), "\udfff": 1.5}

    assert json.loads(fitting(strange)) == {"1": ["?", "{2.5}", None, True, "b'\\xff'"], "?": 1.5}


def task(name: str, role: str = "") -> Any:
    """An Ansible task; each name is one."""
    owner = SimpleNamespace(get_name=lambda include_role_fqcn: role, _role_name=role, tags=[role]) if role else None
    shown = f"{role} : {name}" if role else name
    return SimpleNamespace(name=name, action="debug", _uuid=f"uuid of {name}", _role=owner, get_name=lambda: shown)


def result(of: Any, **values: Any) -> Any:
    return SimpleNamespace(task=of, result={"changed": False, "ansible_facts": {"a": 1}, **values})


@pytest.fixture
def story() -> Story:
    manager = SimpleNamespace(get_vars=lambda play, host: VARIABLES)
    play = SimpleNamespace(get_variable_manager=lambda: manager, get_loader=DataLoader)
    return Story(
        playbook="takeover", play=play, host=SimpleNamespace(get_name=lambda: "odp-1"), roles=["one", "two", "three"]
    )


LOOK, ONE, TWO, THREE = task("look"), task("do 1", "one"), task("do 2", "two"), task("do 3", "three")


def verdicts(run: dict[str, Any]) -> dict[str, Verdict]:
    """What the service makes of it."""
    progress = run_progress.begin(run["roles"], run["hostName"])
    ended = []
    for event in run["events"]:
        as_runner = {**event, "event_data": event["eventData"]}
        progress, changes = run_progress.advance(progress, as_runner)
        ended += [change for change in changes if isinstance(change, Ended)]
    rc = run.get("rc")
    status = None if rc is None else "failed" if rc else "successful"
    ended += [c for c in run_progress.finish(progress, RunEnd(rc=rc, status=status)) if isinstance(c, Ended)]
    return {change.role: change.verdict for change in ended}


def run_of(story: Story, rc: int | None) -> dict[str, Any]:
    run = story.as_run(rc)
    assert run is not None
    return run


def counts(failures: int = 0, unreachable: int = 0) -> dict[str, int]:
    return {"ok": 3, "changed": 0, "failures": failures, "unreachable": unreachable}


def through(story: Story, *tasks: Any) -> None:
    for one in tasks:
        story.enter(one)
        story.take("runner_on_ok", "ok", result(one))


def test_a_run_that_ends_well(story: Story) -> None:
    through(story, LOOK, ONE, TWO, THREE)

    run = run_of(story, story.end(counts()))

    assert (run["rc"], run["clusterId"], run["hostId"], run["sqlPort"]) == (0, 7, 1, 2883)
    assert run["roles"] == ["one", "two", "three"]
    assert verdicts(run) == dict.fromkeys(run["roles"], Verdict.SUCCESSFUL)
    starts = [event["stdout"] for event in run["events"] if event["event"] == "playbook_on_task_start"]
    assert starts == ["TASK [look]", "TASK [one : do 1]", "TASK [two : do 2]", "TASK [three : do 3]"]
    assert run["startTime"] == run["events"][0]["created"] <= run["finishTime"]


def test_facts_are_not_told_and_neither_are_secrets(story: Story) -> None:
    through(story, LOOK)
    story.take("runner_on_failed", "failed", result(ONE, msg=["the password is", "Proxysys#1"]), ignore_errors=False)

    text = json.dumps(run_of(story, story.end(counts(failures=1))))

    assert "the password is" in text
    assert "Proxysys#1" not in text and "ansible_facts" not in text


@pytest.mark.parametrize(
    ("event", "outcome", "counted", "rc"),
    [
        ("runner_on_failed", "failed", counts(failures=1), 2),
        ("runner_on_unreachable", "unreachable", counts(unreachable=1), 4),
    ],
)
def test_a_failure_keeps_the_roles_behind_it(
    story: Story, event: str, outcome: str, counted: dict[str, int], rc: int
) -> None:
    through(story, LOOK, ONE)
    story.take(event, outcome, result(TWO, msg="broken"))

    run = run_of(story, story.end(counted))

    assert (run["rc"], run["roles"]) == (rc, ["one", "two", "three"])
    assert verdicts(run) == {"one": Verdict.SUCCESSFUL, "two": Verdict.FAILED}


def test_what_debug_prints_is_told(story: Story) -> None:
    through(story, LOOK)
    story.take("runner_on_ok", "ok", SimpleNamespace(task=ONE, result={"_ansible_verbose_always": True, "a.b": ["x"]}))

    text = run_of(story, 2)["events"][-1]["stdout"]
    assert text == 'ok: [odp-1] => {\n    "a.b": [\n        "x"\n    ]\n}'


def test_a_failure_of_another_play_is_not_ours(story: Story) -> None:
    through(story, LOOK, ONE, TWO, THREE)

    assert story.end(counts(failures=1)) == 0


def test_an_ignored_failure_is_none(story: Story) -> None:
    through(story, LOOK, ONE, TWO)
    story.take("runner_on_failed", "ignored", result(THREE, msg="never mind"), ignore_errors=True)

    run = run_of(story, story.end(counts()))

    assert run["rc"] == 0
    assert verdicts(run) == dict.fromkeys(run["roles"], Verdict.SUCCESSFUL)
    assert "...ignoring" in run["events"][-2]["stdout"]


@pytest.mark.parametrize(
    ("tasks", "rc", "expected"),
    [
        ([LOOK, TWO, THREE], 0, ["two", "three"]),
        ([LOOK, TWO], 2, ["two", "three"]),
        ([LOOK, TWO], None, ["two", "three"]),
        ([LOOK], 4, ["one", "two", "three"]),
    ],
)
def test_roles_that_the_run_passed_over_are_not_among_its_own(
    story: Story, tasks: list[Any], rc: int | None, expected: list[str]
) -> None:
    through(story, *tasks)

    assert run_of(story, rc)["roles"] == expected


def test_a_run_without_roles_is_none(story: Story) -> None:
    through(story, LOOK)

    assert story.as_run(0) is None


def test_what_no_log_hides_stays_here(story: Story) -> None:
    hidden = result(ONE, censored="hidden", msg="S3cret", _ansible_item_label="S3cret", stderr="S3cret")
    story.take("runner_item_on_failed", "failed item", hidden)

    assert "S3cret" not in json.dumps(run_of(story, 2))


def test_a_host_that_the_service_cannot_know_is_not_told_of(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(VARIABLES, "ocp_host_id")
    through(story, LOOK)

    assert story.as_run(4) is None


def test_a_host_in_no_cluster_is_said(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(VARIABLES, "obproxy_cluster_id")
    through(story, LOOK)

    with pytest.raises(ValueError, match="obproxy_cluster_id is not set"):
        story.as_run(2)
