"""The changes that subtasks report are those that their runs made on the host, also by hand and in a rollback."""

from ansible_collections.obproxy.takeover.plugins.module_utils.masking import stage_one

from service.cli.client import Client
from service.cli.tables import in_dag_order
from service.cli.transport import Document
from tests.roles.playing import play

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .inventory import CLUSTERS, SYS_PASSWORD
from .state_of import parameters_of
from .task_documents import ended, statuses

FACT = "/etc/ansible/facts.d/obproxy.fact"
AGENT = "/home/admin/ocp_agent"
AGENT_FILE = f"{AGENT}/conf/module_config/obproxy.yaml"
UNKNOWN_SECRET = "hush-of-another-program"
RECORD = "/var/lib/obproxy-takeover/before-2883.json"


def changes_of(document: Document, operation: str = "EXECUTE") -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """Return the values before and after by kind and name, of one operation."""
    return {
        (change["what"], change["name"]): (change.get("before"), change.get("after"))
        for subtask in in_dag_order(document["subtasks"])
        for change in subtask["changes"]
        if change["operation"] == operation
    }


def take_over(client: Client, host: LabHost) -> Document:
    (document,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
    return ended(client, document["id"])


def test_a_takeover_reports_its_changes(lab: Lab, client: Client, lab_host: StartHost) -> None:
    host = lab_host()
    before = parameters_of(lab, host, SYS_PASSWORD)

    document = take_over(client, host)

    assert document["status"] == "SUCCESSFUL"
    after, changes = parameters_of(lab, host, SYS_PASSWORD), changes_of(document)
    differing = {name for name in after if after[name] != before[name] and "password" not in name}
    assert differing and differing <= CLUSTERS[0].parameters.keys()
    reported = {name: values for (what, name), values in changes.items() if what == "parameter"}
    assert reported == {name: (before[name], after[name]) for name in differing}
    assert changes["file", FACT] == (None, host.run(f"cat {FACT}"))
    assert changes["record", RECORD] == (None, "present")
    assert changes["password", "observer_sys_password"] == ("***", "***")
    assert {what for what, _ in changes} == {"parameter", "password", "file", "record"}
    assert "Proxyro#1" not in str(document) and stage_one("Proxyro#1") not in str(document)


def test_a_rollback_reports_its_restored_values(lab: Lab, client: Client, lab_host: StartHost) -> None:
    host = lab_host()
    host.run("ln -s /proc/none /etc/ansible")  # the last but one role cannot write the local fact
    document = take_over(client, host)
    assert statuses(document)[10:] == ["FAILED", "PENDING"]

    client.control("rollback", document["id"])
    document = ended(client, document["id"])

    assert document["status"] == "SUCCESSFUL"
    forward, back = changes_of(document), changes_of(document, "ROLLBACK")
    parameters = {key: values for key, values in forward.items() if key[0] == "parameter"}
    assert parameters
    assert {key: values for key, values in back.items() if key[0] == "parameter"} == {
        key: (after, before) for key, (before, after) in parameters.items()
    }
    assert back["record", RECORD] == ("present", None)


def test_check_mode_reports_the_changes_of_the_takeover(lab: Lab, lab_host: StartHost) -> None:
    """Also those of a restart, of a file that is written again and of a second run, which are none."""
    host = lab_host("restart-needed")
    permitted = {"obproxy_allow_restart": True}

    def changes_by(*arguments: str) -> list[tuple[str, dict[str, object]]]:
        done = play(lab, host, arguments=arguments, variables=permitted)
        assert done.code == 0, done.failure(host)
        return [(role, change) for role, result in done.results(host) for change in result.get("changes", ())]

    checked = changes_by("--check")
    made = changes_by()

    (restart,) = [change for _, change in made if change["what"] == "process"]
    assert str(restart["after"]) == f"pid {host.proxy_pid()}" != restart["before"]
    of_facts = ("process", "file")  # the new process is known after the restart only, as is the start in the fact
    assert [(role, change) for role, change in checked if change["what"] not in of_facts] == [
        (role, change) for role, change in made if change["what"] not in of_facts
    ]
    assert [(role, change["name"]) for role, change in checked] == [(role, change["name"]) for role, change in made]
    assert ("start_obproxy", True) in [(role, change["needs_restart"]) for role, change in checked]
    assert changes_by("--check") == changes_by() == []


def test_the_content_of_another_programs_file_is_not_shown(client: Client, lab_host: StartHost) -> None:
    """It may have passwords that the service does not know, and so cannot mask."""
    host = lab_host()
    host.run(
        f"mkdir -p {AGENT}/bin {AGENT}/conf/module_config && printf '#!/bin/sh\\n' > {AGENT}/bin/ocp_agentctl && "
        f"chmod 755 {AGENT}/bin/ocp_agentctl && echo 'password: {UNKNOWN_SECRET}' > {AGENT_FILE} && "
        f"chown -R admin: {AGENT}"
    )

    for check in (True, False):
        (document,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}], check=check)
        document = ended(client, document["id"])
        assert document["status"] == "SUCCESSFUL"
        before, after = changes_of(document)["file", AGENT_FILE]
        assert before == "present" and str(after).startswith("# Written by the takeover")
        logs = "".join(client.log(document["id"], subtask["id"]) for subtask in document["subtasks"])
        assert UNKNOWN_SECRET not in logs + str(document)


def test_a_check_without_a_process_at_the_port_reaches_every_subtask(client: Client, lab_host: StartHost) -> None:
    host = lab_host("stopped")
    host.run(
        f"mkdir -p {AGENT}/bin {AGENT}/conf/module_config && printf '#!/bin/sh\\n' > {AGENT}/bin/ocp_agentctl && "
        f"chmod 755 {AGENT}/bin/ocp_agentctl && chown -R admin: {AGENT}"
    )
    (document,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}], check=True)

    document = ended(client, document["id"])

    assert set(statuses(document)) == {"SUCCESSFUL", "FAILED"}
    by_name = {subtask["name"]: subtask["status"] for subtask in document["subtasks"]}
    assert by_name["Refresh ocp agent config"] == "SUCCESSFUL"


def test_check_mode_by_hand_fails_where_the_login_is_denied(lab: Lab, lab_host: StartHost) -> None:
    """Also where the roles that report the denied login are not selected."""
    host = lab_host("wrong-password")
    for role in ("start_obproxy", "sync_obproxy_parameter"):
        done = play(lab, host, arguments=("--check", "--tags", role))
        assert done.code == 2 and "can log in" in str(done.failure(host)), role
