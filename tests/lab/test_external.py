"""Runs by bare ansible-playbook on real hosts, reported to a running service by the callback plugin."""

import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from service.cli.client import Client
from service.cli.tables import in_dag_order
from service.cli.transport import Document
from tests.forks.server import ANSIBLE, ROOT, Server
from tests.roles.playing import PROGRAM

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .service import Service
from .task_documents import statuses

DEADLINE = 120.0  # seconds that a run may take
SECRETS = ("Proxysys#1", "Proxyro#1", "Adopted#0")
TWELVE = 12

Environment = dict[str, str]


@pytest.fixture(scope="module")
def recording(service: Service, lab: Lab) -> Environment:
    """Return the settings of the plugin: an access key of a user that may only take over."""
    environment = {**os.environ, "TAKEOVER_DATA_DIR": str(service.data_dir), "TAKEOVER_INVENTORY": str(lab.inventory)}

    def manage(*arguments: str, answer: str = "") -> str:
        command = [sys.executable, "-m", "service", *arguments]
        return subprocess.run(command, env=environment, input=answer, check=True, capture_output=True, text=True).stdout

    manage("user", "add", "operator", "--role", "OBPROXY_MANAGER", answer="op-Password#1\n")
    words = manage("accesskey", "create", "operator").split()
    secret = lab.directory / "access-key-secret"
    secret.write_text(words[-1] + "\n")
    return {
        "OBPROXY_TAKEOVER_URL": service.url,
        "OBPROXY_TAKEOVER_ACCESS_KEY": words[2],
        "OBPROXY_TAKEOVER_ACCESS_KEY_SECRET_FILE": str(secret),
        "OBPROXY_TAKEOVER_TIME_LIMIT": "60",  # tests run beside each other
    }


def environment(lab: Lab) -> Environment:
    """Return the environment that all runs have in common."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(lab.directory),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    }


def command(lab: Lab, hosts: Sequence[LabHost], *arguments: str, playbook: str = "takeover") -> list[str]:
    """Return the command line of a playbook on some hosts."""
    names = ",".join(host.name for host in hosts)
    return [str(PROGRAM), "-i", str(lab.inventory), "-l", names, *arguments, f"playbooks/{playbook}.yml"]


def start(lab: Lab, host: LabHost, recording: Environment) -> subprocess.Popen[str]:
    """Start a takeover of a host, as an operator does."""
    # Errors beside the rest: they are one story.
    return subprocess.Popen(
        command(lab, [host]),
        env=environment(lab) | recording,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@functools.cache
def server(lab: Lab) -> Server:
    """Return a server of forked playbooks: a program takes twice the CPU time."""
    return Server(ANSIBLE, environment(lab))


def play(
    lab: Lab, hosts: Sequence[LabHost], recording: Environment, *arguments: str, playbook: str = "takeover"
) -> tuple[int, str]:
    """Exit status and output of a playbook."""
    line = command(lab, hosts, *arguments, playbook=playbook)
    with tempfile.NamedTemporaryFile("r") as output:
        rc = server(lab).run(line, environment(lab) | recording, Path(output.name), DEADLINE)
        return rc, output.read()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Return the output of a playbook until it has printed `words`."""
    assert process.stdout is not None
    output = ""
    while words not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    return output


def wait_for_work_on_host(process: subprocess.Popen[str]) -> None:
    """Wait until a playbook runs ssh: while it forks, Python drops the exception of a signal."""
    deadline = time.monotonic() + DEADLINE
    while True:
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if child.name() == "ssh":
                    return
        assert time.monotonic() < deadline
        time.sleep(0.005)


def documents(client: Client, host: LabHost) -> list[Document]:
    """All that is known of a host, the oldest first."""
    listed = client.tasks(hostId=host.host_id, sort="id,asc", size=100)
    return [client.task(task["id"]) for task in listed]


def logs(client: Client, document: Document) -> list[str]:
    return [client.log(document["id"], subtask["id"]) for subtask in in_dag_order(document["subtasks"])]


def test_a_run_by_hand_is_shown_like_one_of_the_service(
    lab: Lab, lab_host: StartHost, client: Client, recording: Environment
) -> None:
    host = lab_host(state="other-password")

    rc, output = play(lab, [host], recording, "-e", "obproxy_current_sys_password=Adopted#0")

    assert rc == 0, output
    print(output)
    (document,) = documents(client, host)
    assert f"Recorded by the takeover service as task instance {document['id']} ({host.name})" in output
    assert output.count("Recorded by") == 1 and "WARNING" not in output
    assert (document["status"], document["type"], document["operations"]) == ("SUCCESSFUL", "EXTERNAL", [])
    assert (document["creator"]["name"], document["executor"]) == ("operator", "127.0.0.1")
    assert statuses(document) == ["SUCCESSFUL"] * TWELVE
    assert {subtask["operation"] for subtask in document["subtasks"]} == {"EXECUTE"}
    times = [
        (datetime.fromisoformat(subtask["startTime"]), datetime.fromisoformat(subtask["finishTime"]))
        for subtask in in_dag_order(document["subtasks"])
    ]
    assert datetime.fromisoformat(document["startTime"]) == times[0][0]
    assert times == sorted(times) and len(set(times)) > TWELVE / 2
    said = logs(client, document)
    assert "TASK [sync_obproxy_parameter" in said[6] and f"changed: [{host.name}]" in said[6]
    assert not [secret for secret in SECRETS if secret in "".join(said)]
    with pytest.raises(Exception, match="already managed"):
        client.take_over(1, [{"hostId": host.host_id, "sqlPort": 2883}])


def test_each_host_has_its_own_end(lab: Lab, lab_host: StartHost, client: Client, recording: Environment) -> None:
    good, bad, wrong, gone = lab_host(), lab_host("no-nc"), lab_host("wrong-password"), lab_host("unreachable")

    rc, output = play(lab, [good, bad, wrong, gone], recording)

    assert rc != 0
    found = {host.name: documents(client, host)[0] for host in (good, bad, wrong, gone)}
    assert {name: document["status"] for name, document in found.items()} == {
        good.name: "SUCCESSFUL",
        bad.name: "FAILED",
        wrong.name: "FAILED",
        gone.name: "FAILED",
    }
    assert all(str(document["id"]) in output for document in found.values())
    for host, place, words in ((bad, 4, "nc"), (wrong, 2, "password"), (gone, 1, "UNREACHABLE")):
        document = found[host.name]
        assert statuses(document) == ["SUCCESSFUL"] * (place - 1) + ["FAILED"] + ["PENDING"] * (TWELVE - place)
        assert words in logs(client, document)[place - 1]


def test_roles_excluded_by_tags_are_skipped(
    lab: Lab, lab_host: StartHost, client: Client, recording: Environment
) -> None:
    host = lab_host()

    rc, output = play(lab, [host], recording, "--tags", "check_process_not_exist,check_command")

    assert rc == 0, output
    print(output)
    (document,) = documents(client, host)
    operations = [subtask["operation"] for subtask in in_dag_order(document["subtasks"])]
    assert (document["status"], operations) == ("SUCCESSFUL", ["SKIP"] * 2 + ["EXECUTE"] * 2 + ["SKIP"] * 8)
    (ours,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": 2883}])  # nothing is managed by that
    assert [*client.watch([ours["id"]])][-1][0]["status"] == "SUCCESSFUL"


def test_roles_that_a_start_in_the_middle_passes_over_are_skipped(
    lab: Lab, lab_host: StartHost, client: Client, recording: Environment
) -> None:
    host = lab_host("no-nc")

    play(lab, [host], recording, "--start-at-task", "Discover the OBProxy server")
    play(lab, [host], recording, "--start-at-task", "Discover the OBProxy server", "--skip-tags", "check_command")

    first, second = documents(client, host)
    assert statuses(first)[3] == "FAILED"
    assert in_dag_order(second["subtasks"])[3]["operation"] == "SKIP"
    assert second["status"] == "SUCCESSFUL"


def test_a_rollback_by_hand(lab: Lab, lab_host: StartHost, client: Client, recording: Environment) -> None:
    host = lab_host()
    assert play(lab, [host], recording)[0] == 0

    rc, output = play(lab, [host], recording, playbook="rollback")

    assert rc == 0, output
    print(output)
    taken_over, rolled_back = documents(client, host)
    assert taken_over["operation"] == "EXECUTE"
    assert (rolled_back["status"], rolled_back["operation"]) == ("SUCCESSFUL", "ROLLBACK")
    assert statuses(rolled_back) == ["PENDING"] * TWELVE
    (again,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": 2883}])
    assert [*client.watch([again["id"]])][-1][0]["status"] == "SUCCESSFUL"


def test_check_mode_is_not_recorded(lab: Lab, lab_host: StartHost, client: Client, recording: Environment) -> None:
    host = lab_host()

    rc, output = play(lab, [host], recording, "--check", "--diff")

    assert rc == 0 and "Recorded" not in output and "WARNING" not in output
    assert documents(client, host) == []


def test_an_interrupted_run_is_reported(lab: Lab, lab_host: StartHost, client: Client, recording: Environment) -> None:
    host = lab_host("slow")
    process = start(lab, host, recording)
    output = read_until(process, "TASK [prepare_create_obproxy")
    wait_for_work_on_host(process)

    process.send_signal(signal.SIGINT)
    output += process.communicate(timeout=DEADLINE)[0]

    (document,) = documents(client, host)
    assert str(document["id"]) in output and "Traceback" not in output
    assert statuses(document)[0] == "SUCCESSFUL" and "FAILED" in statuses(document)
    assert "INTERRUPTED" in "".join(logs(client, document))


def test_an_error_response_is_one_warning(
    lab: Lab, lab_host: StartHost, client: Client, recording: Environment
) -> None:
    host = lab_host()
    assert play(lab, [host], recording)[0] == 0
    wrong = {**recording, "OBPROXY_TAKEOVER_ACCESS_KEY": "0" * 16}

    rc, output = play(lab, [host], wrong)

    assert rc == 0
    assert output.count("[WARNING]") == 1
    assert "Not logged in" in output
    assert len(documents(client, host)) == 1


def test_a_service_that_is_down_costs_a_warning(lab: Lab, lab_host: StartHost, recording: Environment) -> None:
    host = lab_host()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = {**recording, "OBPROXY_TAKEOVER_URL": f"http://127.0.0.1:{closed.getsockname()[1]}"}
        rc, output = play(lab, [host], down)

    assert rc == 0 and "failed=0" in output
    assert output.count("[WARNING]") == 1
    assert f"This run is not recorded by {down['OBPROXY_TAKEOVER_URL']}" in " ".join(output.split())
    assert "Connection refused" in output


def test_a_service_that_never_answers_costs_some_seconds(lab: Lab, lab_host: StartHost, recording: Environment) -> None:
    host = lab_host()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        mute = {**recording, "OBPROXY_TAKEOVER_URL": url, "OBPROXY_TAKEOVER_TIME_LIMIT": "1.5"}
        process = start(lab, host, mute)
        output = read_until(process, "TASK [finish")
        output += process.communicate(timeout=DEADLINE)[0]

    assert process.returncode == 0 and output.count("[WARNING]") == 1 and "no answer within 1.5 s" in output


@pytest.mark.parametrize("without", ["URL", "ACCESS_KEY", "ACCESS_KEY_SECRET_FILE"])
def test_it_is_off_unless_all_settings_are_given(
    lab: Lab, lab_host: StartHost, client: Client, recording: Environment, without: str
) -> None:
    host = lab_host()
    some = {name: value for name, value in recording.items() if name != f"OBPROXY_TAKEOVER_{without}"}

    rc, output = play(lab, [host], some, "--tags", "check_command")

    assert rc == 0 and "WARNING" not in output and "Recorded" not in output
    assert documents(client, host) == []
