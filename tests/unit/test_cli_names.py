"""Names of hosts, OBProxy clusters, OBProxy servers, task instances and subtasks in arguments."""

from typing import Any

import pytest

from service.cli import names
from service.cli.client import Client
from service.cli.errors import InvalidUsage, RequestRejected

HOSTS = [{"id": 1, "name": "odp-1"}, {"id": 2, "name": "odp-2"}, {"id": 3, "name": "twice"}, {"id": 4, "name": "twice"}]
SERVERS = [
    {"id": 7, "hostId": 1, "sqlPort": 2883},
    {"id": 8, "hostId": 2, "sqlPort": 2883},
    {"id": 9, "hostId": 2, "sqlPort": 2884},
]


class Known(Client):
    """A service with these hosts, clusters, servers and task instances."""

    def hosts(self) -> dict[str, Any]:
        return {"contents": HOSTS}

    def clusters(self) -> dict[str, Any]:
        return {"contents": [{"id": 1, "name": "test"}, {"id": 2, "name": "same"}, {"id": 3, "name": "same"}]}

    def cluster(self, cluster_id: int) -> dict[str, Any]:
        return {"id": cluster_id, "obproxies": SERVERS}

    def tasks(self, **query: str | int) -> list[Any]:
        assert query["size"] == 1, "the newest is the first"
        return [{"id": 40}] if query["hostId"] == 1 else []


@pytest.fixture
def client() -> Client:
    return Known("http://127.0.0.1:1", "")


def test_numbers_are_ids_of_things_that_are_not_looked_up() -> None:
    nowhere = Client("http://127.0.0.1:1", "")

    assert names.host_ids(nowhere, ["5", "6"]) == [5, 6]
    assert names.cluster_id(nowhere, "5") == 5
    assert names.server_ids(nowhere, 1, ["5"]) == [5]
    assert names.task_ids(nowhere, ["5"]) == [5]


def test_names_and_ids_may_be_mixed(client: Client) -> None:
    assert names.host_ids(client, ["odp-2", "9", "odp-1"]) == [2, 9, 1]
    assert names.cluster_id(client, "test") == 1
    assert names.server_ids(client, 1, ["odp-1", "odp-2:2884", "5"]) == [7, 9, 5]
    assert names.task_id(client, "odp-1") == 40


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (lambda client: names.host_id(client, "odp"), "No host has the name odp."),
        (lambda client: names.host_id(client, "²"), "No host has the name ²."),
        (lambda client: names.host_id(client, "twice"), "The name twice is ambiguous: it names the hosts 3, 4."),
        (lambda client: names.cluster_id(client, "x"), "No OBProxy cluster has the name x."),
        (lambda client: names.cluster_id(client, "same"), "it names the OBProxy clusters 2, 3. Use an id."),
        (lambda client: names.server_ids(client, 1, ["odp-1:2884"]), "The OBProxy cluster has no server odp-1:2884."),
        (lambda client: names.server_ids(client, 1, ["odp-2"]), "it names the servers odp-2:2883, odp-2:2884."),
        (lambda client: names.task_id(client, "odp-2"), "Host odp-2 has no task instance."),
    ],
    ids=["host", "digit", "hosts", "cluster", "clusters", "server", "servers", "task instance"],
)
def test_an_unknown_or_ambiguous_name_is_rejected(client: Client, find: Any, message: str) -> None:
    with pytest.raises(RequestRejected) as rejected:
        find(client)

    assert message in str(rejected.value) and rejected.value.exit_status == 4


@pytest.mark.parametrize(
    ("text", "host", "port"), [("odp-1", "odp-1", None), ("odp-1:2884", "odp-1", 2884), ("3:2884", "3", 2884)]
)
def test_a_host_may_have_a_port(text: str, host: str, port: int | None) -> None:
    assert names.target(text) == names.Target(host=host, port=port)


@pytest.mark.parametrize("text", ["odp-1:", ":2883", "odp-1:x", "odp-1:²", ""])
def test_a_bad_host_is_named(text: str) -> None:
    with pytest.raises(InvalidUsage, match="Each host must be HOST or HOST:SQL_PORT"):
        names.target(text)


def test_a_subtask_has_an_id_and_a_name() -> None:
    document = {"id": 7, "subtasks": [{"id": 71, "name": "Check"}, {"id": 72, "name": "Finish"}]}

    assert names.subtask(document, "72")["id"] == names.subtask(document, "finish")["id"] == 72
    with pytest.raises(RequestRejected, match="Task instance 7 has no subtask 7"):
        names.subtask(document, "7")
