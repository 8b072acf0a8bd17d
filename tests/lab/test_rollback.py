"""Control of a real takeover: rolled back, retried once the reason is gone, canceled."""

from service.cli.client import Client
from service.cli.transport import Document
from tests.waiting import until

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .task_documents import ended, statuses
from .tunnel import admin


def take_over(client: Client, host: LabHost) -> Document:
    (document,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
    return ended(client, document["id"])


def failed(document: Document) -> Document:
    return next(subtask for subtask in document["subtasks"] if subtask["status"] == "FAILED")


def running(document: Document) -> list[int]:
    """Return the ids of the running subtasks."""
    return [subtask["id"] for subtask in document["subtasks"] if subtask["status"] == "RUNNING"]


def parameters(lab: Lab, host: LabHost) -> dict[str, str]:
    with admin(lab, host, "Proxysys#1") as connection, connection.cursor() as cursor:
        cursor.execute("show proxyconfig")
        found = {row[0]: row[1] for row in cursor.fetchall()}
    # The plain text of the former value is unknown, and a hash cannot be set by SQL (docs/reference/obproxy.md 11.3).
    del found["observer_sys_password"]
    return found


def test_a_failed_takeover_rolls_back_to_where_it_began(lab: Lab, client: Client, lab_host: StartHost) -> None:
    host = lab_host()
    before, pid = parameters(lab, host), host.proxy_pid()
    host.run("ln -s /proc/none /etc/ansible")  # where the last but one role makes a directory, none can be made
    document = take_over(client, host)
    assert statuses(document)[10:] == ["FAILED", "PENDING"], client.log(document["id"], failed(document)["id"])
    assert parameters(lab, host) != before

    client.control("rollback", document["id"])
    document = ended(client, document["id"])

    assert (document["status"], document["operation"]) == ("SUCCESSFUL", "ROLLBACK")
    assert set(statuses(document)) == {"PENDING"}
    assert parameters(lab, host) == before
    assert host.proxy_pid() == pid


def test_retry_resumes_after_the_fix(client: Client, lab_host: StartHost) -> None:
    host = lab_host(state="no-nc")
    document = take_over(client, host)
    assert failed(document)["name"] == "Check if command exists"

    host.run("printf '#!/bin/sh\\n' > /usr/local/bin/nc && chmod 755 /usr/local/bin/nc")
    client.control("retry", document["id"])
    document = ended(client, document["id"])

    assert document["status"] == "SUCCESSFUL" and document["operation"] == "RETRY"


def test_cancel_ends_a_run_on_a_host_that_does_not_answer(client: Client, lab_host: StartHost) -> None:
    host = lab_host()
    host.pause()
    (document,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
    subtask_id, *_ = until(lambda: running(client.task(document["id"])), "no subtask runs")

    client.control("cancel", document["id"], subtask_id)
    document = ended(client, document["id"])
    host.resume()

    assert (failed(document)["id"], failed(document)["operation"]) == (subtask_id, "CANCEL")
    client.control("retry", document["id"])
    assert ended(client, document["id"])["status"] == "SUCCESSFUL"
