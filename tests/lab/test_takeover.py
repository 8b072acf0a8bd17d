"""The main job: a request over HTTP, twelve roles on a real host over SSH, a document that is right."""

import time
from collections.abc import Sequence
from datetime import datetime

import httpx
import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.masking import stage_one

from service.cli.client import Client
from service.cli.errors import ClientError
from service.cli.tables import in_dag_order
from service.cli.transport import Document

from .fixtures import StartHost
from .host import LabHost
from .inventory import CLUSTERS
from .service import Service
from .task_documents import statuses
from .traffic import held

DEADLINE = 120.0  # seconds a takeover may take at the most, several beside each other on a slow machine included
TERMINAL = ("SUCCESSFUL", "FAILED")
RANK = {"PENDING": 0, "READY": 1, "RUNNING": 2, "SUCCESSFUL": 3, "FAILED": 3}


def request(host: LabHost, password: str | None = None) -> dict[str, object]:
    asked: dict[str, object] = {"hostId": host.host_id, "sqlPort": host.sql_port}
    return asked if password is None else asked | {"proxysysPasswd": password}


def cluster_id(host: LabHost) -> int:
    return 2 if host.version.startswith("1.") else 1


def watch(client: Client, documents: Sequence[Document]) -> list[list[Document]]:
    """Every state that the documents were seen in, to their end."""
    deadline = time.monotonic() + DEADLINE
    seen = []
    for state in client.watch([document["id"] for document in documents]):
        assert time.monotonic() < deadline, state
        seen.append(state)
    return seen


def take_over(client: Client, host: LabHost, password: str | None = None) -> Document:
    """Return the final document of a takeover of one host."""
    return watch(client, client.take_over(cluster_id(host), [request(host, password)]))[-1][0]


@pytest.mark.parametrize("version", ["4.3.1.0-1", "1.9.1.1-1919579"])
def test_adopts_a_running_proxy_and_no_client_notices(client: Client, lab_host: StartHost, version: str) -> None:
    host = lab_host(version=version)
    pid = host.proxy_pid()

    with held(host) as traffic:
        seen = watch(client, client.take_over(cluster_id(host), [request(host)]))
        answered = list(traffic.answers)
    final = seen[-1][0]

    log = "\n".join(client.log(final["id"], s["id"]) for s in final["subtasks"] if s["status"] == "FAILED")
    assert final["status"] == "SUCCESSFUL", log
    assert statuses(final) == ["SUCCESSFUL"] * 12
    assert not traffic.problems
    assert min(answered) > 0 and min(traffic.answers) >= min(answered)
    assert host.proxy_pid() == pid
    assert_truthful([state[0] for state in seen])


def assert_truthful(seen: Sequence[Document]) -> None:
    """At every moment: never two subtasks running, never one ahead of its upstream, none ever going back."""
    before = [0] * 12
    for document in seen:
        ranks = [RANK[status] for status in statuses(document)]
        assert all(now >= then for now, then in zip(ranks, before, strict=True))
        assert statuses(document).count("RUNNING") <= 1
        assert ranks == sorted(ranks, reverse=True)
        assert document["status"] in TERMINAL or set(statuses(document)) != {"SUCCESSFUL"}
        before = ranks
    assert any("RUNNING" in statuses(document) for document in seen)


def test_parameter_definitions_of_a_proxy_can_be_queried(client: Client, service: Service, lab_host: StartHost) -> None:
    """The response has the state after the takeover, and no credential."""
    host = lab_host()
    assert take_over(client, host)["status"] == "SUCCESSFUL"

    with httpx.Client(base_url=f"{service.url}/api/v2/obproxy", auth=("admin", service.password)) as http:
        answer = http.get("/clusters/1/parameters")
        infos = http.get("/parameterInfo", params={"version": "4.3.1"}).json()["data"]["contents"]

    found = {parameter["name"]: parameter for parameter in answer.json()["data"]["contents"]}
    # More than one each, if a former host of the service had the same address.
    values = {
        name: {value["value"] for value in parameter["values"] if host.address in value["obproxies"]}
        for name, parameter in found.items()
    }
    desired = CLUSTERS[0].parameters
    assert desired and all(desired[name] in values[name] for name in desired)
    assert sum(map(bool, values.values())) > 290 and str(host.sql_port) in values["listen_port"]
    assert found["work_thread_num"]["needReboot"] and not found["syslog_level"]["needReboot"]
    assert found["max_connections"]["description"] == "max fd proxy could use"
    assert set().union(*(values[name] for name in values if "password" in name)) <= {"***", ""}
    for password in ("Proxysys#1", "Proxyro#1"):
        assert password not in answer.text and stage_one(password) not in answer.text
    of_threads = next(info for info in infos if info["name"] == "work_thread_num")
    assert (of_threads["needRestart"], of_threads["type"], of_threads["minValue"]) == (True, "INT", "1")


def test_several_hosts_in_one_request_go_side_by_side(client: Client, lab_host: StartHost) -> None:
    hosts = [lab_host() for _ in range(3)]
    documents = client.take_over(1, [request(host) for host in hosts])
    assert [document["hostId"] for document in documents] == [host.host_id for host in hosts]

    seen = watch(client, documents)

    assert [document["status"] for document in seen[-1]] == ["SUCCESSFUL"] * 3
    assert any(sum("RUNNING" in statuses(document) for document in state) > 1 for state in seen)


def test_a_proxy_with_a_password_of_its_own_needs_it_and_gets_the_clusters(client: Client, lab_host: StartHost) -> None:
    host = lab_host(state="other-password")
    refused = take_over(client, host)
    assert refused["status"] == "FAILED"

    final = take_over(client, host, password="Adopted#0")

    assert final["status"] == "SUCCESSFUL"
    for document in (refused, final):
        for subtask in document["subtasks"]:
            log = client.log(document["id"], subtask["id"])
            assert "Adopted#0" not in log and "Proxysys#1" not in log and "Proxyro#1" not in log


# state of the host, the subtask that fails (its place in the chain), words that its log must hold
FAILURES = [
    ("unreachable", 1, ["UNREACHABLE"]),
    ("no-sudo", 1, ["sudo"]),
    ("stopped", 1, ["2883", "obproxy_allow_start"]),
    ("absent", 1, ["2883", "obproxy_allow_start"]),
    ("foreign", 1, ["two", "3883"]),
    ("old-version", 1, ["1.7.4", "1.8.0"]),
    ("owner-root", 1, ["root", "admin"]),
    ("wrong-password", 2, ["password", "obproxy_current_sys_password"]),
    ("rs-list", 1, ["rs_list", "config_url"]),
    ("no-nc", 4, ["nc"]),
    ("restart-needed", 7, ["work_thread_num", "obproxy_allow_restart"]),
    ("full-disk", 2, ["disk"]),
]


@pytest.mark.parametrize(("state", "place", "words"), FAILURES, ids=[state for state, _, _ in FAILURES])
def test_an_obstacle_fails_its_subtask_with_a_message(
    client: Client, lab_host: StartHost, state: str, place: int, words: list[str]
) -> None:
    host = lab_host(state=state)
    pid = host.proxy_pid() if state not in ("unreachable",) else None

    final = take_over(client, host)

    assert final["status"] == "FAILED"
    failed = next(subtask for subtask in in_dag_order(final["subtasks"]) if subtask["status"] == "FAILED")
    log = client.log(final["id"], failed["id"])
    assert statuses(final) == ["SUCCESSFUL"] * (place - 1) + ["FAILED"] + ["PENDING"] * (12 - place), log
    assert not [word for word in words if word.lower() not in log.lower()], log
    if pid:
        assert host.proxy_pid() == pid


def test_a_request_with_permission_restarts_one_host_at_a_time(client: Client, lab_host: StartHost) -> None:
    """Hosts of a cluster that allows no restart: without the request's word each fails, as it would with its no."""
    hosts = [lab_host(state="restart-needed") for _ in range(2)]
    pids = [host.proxy_pid() for host in hosts]
    for refusal in (None, False):
        asked = client.take_over(1, [request(host) for host in hosts], allow_restart=refusal)
        for document in watch(client, asked)[-1]:
            assert statuses(document)[6] == "FAILED", document
            log = client.log(document["id"], in_dag_order(document["subtasks"])[6]["id"])
            assert "work_thread_num is '4', desired is '8'" in log and "permit the restart" in log
    assert [host.proxy_pid() for host in hosts] == pids

    finals = watch(client, client.take_over(1, [request(host) for host in hosts], allow_restart=True))[-1]

    assert [document["status"] for document in finals] == ["SUCCESSFUL"] * 2
    assert not set(pids) & {host.proxy_pid() for host in hosts}
    first, second = sorted(map(when, finals))
    assert first[1] <= second[0], "the other one served clients meanwhile"


def when(document: Document) -> tuple[datetime, datetime]:
    """Return the first start of a subtask and the last end."""
    times = [[datetime.fromisoformat(s[name]) for s in document["subtasks"]] for name in ("startTime", "finishTime")]
    return min(times[0]), max(times[1])


def test_versions_below_and_from_4_do_not_mix(client: Client, lab_host: StartHost) -> None:
    host = lab_host(version="1.9.1.1-1919579")

    final = watch(client, client.take_over(1, [request(host)]))[-1][0]

    failed = next(subtask for subtask in in_dag_order(final["subtasks"]) if subtask["status"] == "FAILED")
    log = client.log(final["id"], failed["id"])
    assert failed["name"] == "Prepare obproxy install" and "1.9.1.1" in log and "4.0" in log


def test_a_managed_proxy_is_rejected_by_name(client: Client, lab_host: StartHost) -> None:
    host = lab_host()
    assert take_over(client, host)["status"] == "SUCCESSFUL"

    with pytest.raises(ClientError, match=f"host {host.host_id} at port 2883 is already managed"):
        take_over(client, host)


def test_a_host_with_a_running_task_is_rejected_by_name(client: Client, lab_host: StartHost) -> None:
    host = lab_host()
    (running_task,) = client.take_over(1, [request(host)])

    with pytest.raises(ClientError, match=f"Host {host.host_id} .*: {running_task['id']}"):
        client.take_over(1, [request(host)])

    watch(client, [running_task])
