"""A host that an attacker controls affects only its own failed task instance."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from service.cli.client import Client
from service.cli.errors import ClientError
from service.cli.tables import in_dag_order
from service.cli.transport import Document
from service.outcome.ansible_results import MESSAGE_LIMIT
from service.outcome.run_progress import EVENT_LIMIT
from service.runs.child import MEMORY_LIMIT

from . import Lab, LabHost
from .fixtures import StartHost
from .hostile import heard, payload, take_control, write
from .inventory import PROXYRO_PASSWORD, SYS_PASSWORD
from .planted import Searcher
from .service import Service, running
from .test_takeover import request, take_over, watch

ENOUGH = 20.0  # seconds after which the test cancels a takeover
IN_TIME = 150.0  # seconds until it must have ended, whatever the host does
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
LIMIT = 4 * EVENT_LIMIT + 4 * MESSAGE_LIMIT  # characters of the log of a subtask that failed at its first Ansible task
FIRST_CHANGE = 6  # place of the first subtask that sets something
BESIDE = 400 * 2**20  # bytes that everything else of a service takes


@pytest.fixture(scope="module")
def service(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("hostile"), lab.inventory, forked=True) as started:
        yield started


class Peak:
    """The most memory that a process and all below it have had at a time, bytes; looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self.bytes = 0
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            total = 0
            for process in (self._process, *self._process.children(recursive=True)):
                with suppress(psutil.Error):
                    total += process.memory_full_info().uss
            self.bytes = max(self.bytes, total)


def failed(client: Client, host: LabHost, document: Document) -> str:
    """Return the log of its failed subtask; no later subtask was touched."""
    subtasks = in_dag_order(document["subtasks"])
    statuses = [subtask["status"] for subtask in subtasks]
    assert document["status"] == "FAILED"
    place = statuses.index("FAILED")
    assert place < FIRST_CHANGE and statuses == ["SUCCESSFUL"] * place + ["FAILED"] + ["PENDING"] * (11 - place)
    return client.log(document["id"], subtasks[place]["id"])


def check_untouched(client: Client, service: Service, document: Document, log: str, proof: Path) -> None:
    """Nothing of the host's was run, nothing forged counts, and what is shown is plain text."""
    assert not proof.exists()
    assert "4711" not in str(document) and "6.6.6.6" not in str(document)
    assert not CONTROLS.findall(log.replace("\n", ""))
    assert len(log) < LIMIT
    instance = f"{service.url}/api/v2/tasks/instances/{document['id']}"
    with httpx.Client(auth=("admin", service.password)) as http:
        for path in ("", f"/subtasks/{document['subtasks'][0]['id']}/log"):
            answer = http.get(instance + path)
            assert answer.headers["content-type"].startswith("application/json")
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("attack", ["texts", "titles", "kinds", "keys", "words", "deep"])
def test_its_output_is_only_text(
    client: Client, service: Service, lab_host: StartHost, tmp_path: Path, attack: str
) -> None:
    host, proof = lab_host(), tmp_path / "proof"
    take_control(host, attack, payload(proof))

    document = take_over(client, host)

    if attack == "keys" and document["status"] == "SUCCESSFUL":  # unexpected keys are ignored
        assert not proof.exists() and "4711" not in str(document)
        return
    check_untouched(client, service, document, failed(client, host, document), proof)


@pytest.mark.parametrize("attack", ["huge", "loud", "endless"])
def test_unlimited_output_is_cut(client: Client, service: Service, lab_host: StartHost, attack: str) -> None:
    host = lab_host()
    take_control(host, attack, "")
    begun = time.monotonic()

    with Peak(service.process.pid) as peak:
        (document,) = client.take_over(1, [request(host)])
        while document["status"] == "RUNNING":
            assert time.monotonic() - begun < IN_TIME
            if attack == "endless" and time.monotonic() - begun > ENOUGH:  # else its time limit would do it
                with suppress(ClientError):
                    client.control("cancel", document["id"], in_dag_order(document["subtasks"])[0]["id"])
            time.sleep(0.5)
            document = client.task(document["id"])

    log = failed(client, host, document)
    print(attack, f"{peak.bytes / 2**20:.0f} MiB", f"{time.monotonic() - begun:.0f} s", log[-1500:])
    assert peak.bytes < MEMORY_LIMIT + BESIDE, f"{peak.bytes / 2**20:.0f} MiB"
    assert len(log) < LIMIT
    assert attack != "loud" or "a line of 30000000 characters" in log
    honest = lab_host()
    assert take_over(client, honest)["status"] == "SUCCESSFUL", "the service goes on"


def test_notes_on_the_host_are_no_templates(
    client: Client, service: Service, lab_host: StartHost, tmp_path: Path
) -> None:
    host, proof = lab_host(), tmp_path / "proof"
    write(host, "/etc/ansible/facts.d/obproxy.fact", json.dumps({"managed_by": payload(proof)}))

    document = take_over(client, host)

    log = failed(client, host, document)
    check_untouched(client, service, document, log, proof)
    assert "lookup('ansible.builtin.pipe'" in log, "it is shown as it stands there"


def test_a_banner_is_no_event(client: Client, service: Service, lab_host: StartHost, tmp_path: Path) -> None:
    host, proof = lab_host(), tmp_path / "proof"
    for file in ("/etc/banner", "/etc/motd"):
        write(host, file, payload(proof))
    host.run("echo 'Banner /etc/banner' > /etc/ssh/sshd_config.d/banner.conf; kill -HUP 1")

    document = take_over(client, host)

    assert document["status"] == "SUCCESSFUL" and not proof.exists()
    assert "4711" not in str(document)
    for subtask in document["subtasks"]:
        assert "taken as text only" not in client.log(document["id"], subtask["id"])


def test_it_gets_no_password(client: Client, lab_host: StartHost) -> None:
    """A host that an attacker controls gets no password through its Python, not even that of its own cluster."""
    hostile, honest = lab_host(), lab_host()
    take_control(hostile, "texts", "x")

    documents = client.take_over(1, [request(hostile, "Given#Needle1"), request(honest, "Given#Needle2")])
    ends = watch(client, documents)[-1]

    assert [document["status"] for document in ends] == ["FAILED", "SUCCESSFUL"]
    told = heard(hostile)
    asked = b"".join(re.findall(rb'a2b_base64\("([^"]*)"\)', told))
    assert asked
    searcher = Searcher(cluster=SYS_PASSWORD, proxyro=PROXYRO_PASSWORD, own="Given#Needle1", others="Given#Needle2")
    assert not searcher.find(told)
