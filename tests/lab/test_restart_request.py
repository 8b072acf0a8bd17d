"""Test that a requested restart replaces the process, keeps the clients of a hot restart, and needs its permissions."""

from service.cli.client import Client
from tests.waiting import until

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .task_documents import ended, statuses
from .test_draining import alter
from .test_release import configuration, take_over
from .test_restart import LEGACY
from .traffic import held


def values(lab: Lab, host: LabHost) -> dict[object, object]:
    """Return the parameters by name, without the time at which they were stored."""
    return {row[0]: row[1] for row in configuration(lab, host) if row[0] != "json_config_modified_time"}


def test_a_hot_restart_drops_no_client(lab: Lab, client: Client, lab_host: StartHost) -> None:
    host = lab_host()
    server_id, pid = take_over(client, host), host.proxy_pid()
    before = values(lab, host)

    with held(host, 20) as traffic:
        (document,) = client.restart(1, [server_id])
        host.wait_for_another_pid(pid)
        traffic.wait_until_all_are_answered()
    document = ended(client, document["id"])

    assert (document["name"], document["status"]) == ("Restart obproxy", "SUCCESSFUL")
    assert statuses(document) == ["SUCCESSFUL"] * 5
    assert traffic.problems == []
    assert values(lab, host) == before and host.proxy_pid() not in (None, pid)
    (server,) = [server for server in client.cluster(1)["obproxies"] if server["id"] == server_id]
    assert (server["status"], server["operateStatus"]) == ("RUNNING", "NORMAL")


def test_a_cold_restart_needs_a_permission_of_its_own(client: Client, lab_host: StartHost) -> None:
    host = lab_host(version=LEGACY)
    (document,) = client.take_over(2, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
    assert ended(client, document["id"])["status"] == "SUCCESSFUL"
    server_id, pid = int(document["context"]["stringMap"]["obproxy_server_id"]), host.proxy_pid()

    (document,) = client.restart(2, [server_id])
    document = ended(client, document["id"])
    assert document["status"] == "FAILED" and host.proxy_pid() == pid
    failed = next(subtask for subtask in document["subtasks"] if subtask["status"] == "FAILED")
    assert "allowColdRestart in the request" in client.log(document["id"], failed["id"])

    (document,) = client.restart(2, [server_id], allow_cold=True)
    assert ended(client, document["id"])["status"] == "SUCCESSFUL"
    assert host.proxy_pid() not in (None, pid)


def test_a_retry_completes_a_restart_whose_former_process_still_drains(
    lab: Lab, client: Client, lab_host: StartHost
) -> None:
    host = lab_host()
    server_id, pid = take_over(client, host), host.proxy_pid()
    alter(lab, host, hot_upgrade_exit_timeout="300000000")

    with held(host, 1):
        (document,) = client.restart(1, [server_id])
        restarted = host.wait_for_another_pid(pid)
        (subtask_id,) = [s["id"] for s in client.task(document["id"])["subtasks"] if s["status"] == "RUNNING"]
        client.control("cancel", document["id"], subtask_id)
        assert ended(client, document["id"])["status"] == "FAILED"
        client.control("retry", document["id"])
        # The run has discovered the host when the role begins again.
        begun = "TASK [restart_obproxy"
        until(lambda: client.log(document["id"], subtask_id).count(begun) > 1, "the role does not begin again")
    document = ended(client, document["id"])

    assert document["status"] == "SUCCESSFUL" and host.proxy_pid() == restarted
    changes = [change for subtask in document["subtasks"] for change in subtask["changes"]]
    assert [(c["before"], c["after"], c["operation"]) for c in changes if c["what"] == "process"] == [
        (f"pid {pid}", f"pid {restarted}", "RETRY")
    ]
