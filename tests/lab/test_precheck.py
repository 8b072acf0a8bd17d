"""A precheck changes nothing on the host, and reports every failed rule and every change of a takeover."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping

import pytest

from service.cli.client import Client
from service.cli.tables import in_dag_order
from service.cli.transport import Document
from service.model.settings import PROJECT
from service.outcome import failed_rules
from tests.roles.playing import Play, play

from . import Lab
from .fixtures import StartHost
from .host import HostSpec, LabHost
from .inventory import SYS_PASSWORD
from .service import Service
from .state_of import parameters_of
from .states import STATES
from .task_documents import ended, statuses
from .test_changes import changes_of

# All files but the proxy's own log and store, what logins and package managers write by themselves, and file systems
# of the kernel. Access times are left out, since reading sets them. Every write changes the time of a file's inode.
# That of a directory also changes when the file system of the container copies it. A path may be no text in UTF-8.
FILES = r"""
find / \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path '/var/log/*' -o -path '*/obproxy*/log' \
    -o -path '*/etc/proxyconfig*' -o -path '*/var/lib/rpm' \) -prune -o -printf '%p %y %M %U:%G %s %T@ %l' \
    \( -type d -printf '\n' -o -printf ' %C@\n' \) | sort | LC_ALL=C tr '\200-\377' '?'
"""
PROCESSES = r"""
for p in $(ls /proc | grep -x '[0-9]*'); do
    case "$(cat /proc/$p/comm 2>/dev/null)" in sshd*|bash|sh|ps|ls|systemd*|sleep|nc|"") continue ;; esac
    [ $p = $$ ] || echo "$p $(cut -d' ' -f22 /proc/$p/stat) $(tr '\0' ' ' </proc/$p/cmdline)"
done 2>/dev/null | grep -v ' \(find\|sort\|cut\|cat\|grep\|tr\) '
"""
_RULE = re.compile(r"Rule: (.*?) Found: ")
WHOLE_HOST = f"{FILES}{PROCESSES}"


def whole(lab: Lab, host: LabHost, password: str = SYS_PASSWORD) -> Mapping[str, object]:
    lines = host.run(WHOLE_HOST).splitlines()
    return {"host": lines, "parameters": parameters_of(lab, host, password)}


def assert_same(before: Mapping[str, object], after: Mapping[str, object]) -> None:
    lines = [set(state["host"]) for state in (before, after)]  # type: ignore[call-overload]
    assert sorted(lines[0] ^ lines[1]) == []
    assert before["parameters"] == after["parameters"]


def files(host: LabHost) -> set[str]:
    """Return a line for each file of a host, which differs after each write."""
    return set(host.run(FILES).splitlines())


def assert_foreseen(check: Play, takeover: Play, host: LabHost) -> None:
    """Check that a takeover fails if and only if the check before it does, and for a reason that it has reported."""
    verdicts = [sum(play.stats(host)[kind] for kind in ("failures", "unreachable")) for play in (check, takeover)]
    assert bool(verdicts[0]) == bool(verdicts[1]), (check.text, takeover.text)
    if verdicts[1]:
        _, message = takeover.failure(host)
        reported = "\n".join(str(result.get("msg", "")) for _, result in check.results(host))
        assert set(_RULE.findall(str(message))) <= set(_RULE.findall(reported)), (message, reported)


def submit(client: Client, host: LabHost, *, check: bool = True) -> Document:
    (document,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}], check=check)
    return ended(client, document["id"])


def findings(client: Client, document: Document) -> dict[str, list[str]]:
    """Return the failed rules by the name of the failed subtask."""
    found = {}
    for subtask in in_dag_order(document["subtasks"]):
        if subtask["status"] == "FAILED":
            lines = client.log(document["id"], subtask["id"]).splitlines()
            parsed = [rules for line in lines if (rules := failed_rules.parse(line))]
            found[subtask["name"]] = [failed.rule for failed in parsed[-1].rules]
    return found


def test_a_precheck_changes_nothing_and_names_the_changes_of_the_takeover(
    lab: Lab, client: Client, lab_host: StartHost
) -> None:
    host = lab_host()
    before = whole(lab, host)

    checked = submit(client, host)

    assert_same(before, whole(lab, host))
    assert (checked["name"], checked["status"]) == ("Check obproxy takeover", "SUCCESSFUL"), findings(client, checked)
    assert statuses(checked) == ["SUCCESSFUL"] * 12 and checked["prohibitRollback"]
    assert client.cluster(1)["obproxies"] == [
        server for server in client.cluster(1)["obproxies"] if server["hostId"] != host.host_id
    ]
    taken_over = submit(client, host, check=False)
    assert taken_over["status"] == "SUCCESSFUL"
    assert changes_of(checked) == changes_of(taken_over) != {}
    assert client.task(checked["id"])["status"] == "SUCCESSFUL"


def test_a_precheck_reports_the_findings_of_all_subtasks(lab: Lab, client: Client, lab_host: StartHost) -> None:
    host = lab_host("restart-needed")
    # Without nc, a watchdog starts one OBProxy after the other.
    host.run("pkill -9 -x obproxyd.sh; rm -f /bin/nc /bin/netcat /bin/nc.openbsd; ln -s /proc/none /etc/ansible")
    before = whole(lab, host)

    document = submit(client, host)

    assert_same(before, whole(lab, host))
    assert document["status"] == "FAILED" and document["operations"] == ["RETRY"]
    found = findings(client, document)
    assert found == {
        "Check if command exists": ["The OBProxy's user finds every command in its login shell's PATH."],
        "Sync obproxy parameter": [
            "No parameter that acts only after a restart differs, unless a restart is permitted."
        ],
        "Update obproxy status": ["The local fact with the OBProxy's manager can be written."],
    }
    assert set(statuses(document)) == {"SUCCESSFUL", "FAILED"}
    assert changes_of(document)["password", "observer_sys_password"] == ("***", "***")


def test_findings_that_are_fixed_are_gone_after_a_retry(client: Client, lab_host: StartHost) -> None:
    host = lab_host("no-nc")
    document = submit(client, host)
    assert list(findings(client, document)) == ["Check if command exists"]

    host.run("printf '#!/bin/sh\\n' > /usr/local/bin/nc && chmod 755 /usr/local/bin/nc")
    client.control("retry", document["id"])
    document = ended(client, document["id"])

    assert document["status"] == "SUCCESSFUL"
    assert submit(client, host, check=False)["status"] == "SUCCESSFUL"


@pytest.mark.parametrize(
    ("state", "subtask"),
    [
        ("wrong-password", "Prepare create obproxy"),
        ("stopped", "Start obproxy process"),
        ("absent", "Install rpm by package and version"),
        ("foreign", "Check if process not exist"),
        ("busy-exporter-port", "Prepare create obproxy"),
    ],
)
def test_the_first_finding_is_that_of_the_takeover(
    client: Client, lab_host: StartHost, state: str, subtask: str
) -> None:
    """No finding is only a consequence of another one, so few subtasks fail; all run."""
    host = lab_host(state)
    checked = submit(client, host)
    found = findings(client, checked)
    taken_over = submit(client, host, check=False)
    assert list(findings(client, taken_over)) == [next(iter(found))]
    assert subtask in found and len(found) <= 3, found
    assert set(statuses(checked)) == {"SUCCESSFUL", "FAILED"}


def test_a_takeover_of_a_host_in_any_state_fails_for_nothing_that_the_check_has_not_reported(lab: Lab) -> None:
    specs = [HostSpec(f"checked-{number}", 7800 + number, state) for number, state in enumerate(STATES)]
    hosts = lab.start_many(specs)
    try:
        before = {host.name: files(host) for host in hosts}
        check = play(lab, *hosts, arguments=("--check",))
        changed = {host.name: sorted(before[host.name] ^ files(host)) for host in hosts}
        takeover = play(lab, *hosts)
    finally:
        for host in hosts:
            host.remove()

    assert changed == {host.name: [] for host in hosts}
    for host in hosts:
        assert_foreseen(check, takeover, host)
    passed = [spec.state for spec, host in zip(specs, hosts, strict=True) if not check.stats(host)["failures"]]
    assert "running" in passed and "foreign" not in passed


def test_what_could_not_be_checked_is_named(client: Client, lab_host: StartHost) -> None:
    document = submit(client, lab_host("wrong-password"))

    ids = {subtask["name"]: subtask["id"] for subtask in document["subtasks"]}
    for name in ("Sync obproxy parameter", "Set obproxy user and password for connect"):
        assert "Not checked: root@proxysys cannot log in." in client.log(document["id"], ids[name])


def test_check_mode_by_hand_reports_all_findings_at_its_end(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("no-nc")
    host.run("ln -s /proc/none /etc/ansible")
    before = whole(lab, host)
    done = play(lab, host, arguments=("--check", "--diff"))
    assert_same(before, whole(lab, host))
    role, message = done.failure(host)
    assert done.code == 2 and role == ""
    assert "finds every command" in str(message) and "local fact" in str(message)


@pytest.mark.parametrize("inventory", [{}, {"report_all_findings": True}], ids=["plain", "set in the inventory"])
@pytest.mark.parametrize(
    ("playbook", "expected"),
    [
        ("refresh", ["manages the OBProxy in its cluster", "acts only after a restart differs"]),
        ("restart", ["manages the OBProxy in its cluster", "The restart is permitted"]),
        ("release", ["No other manager manages the OBProxy"]),
        ("rollback", []),
    ],
)
def test_the_other_playbooks_report_all_findings_in_check_mode(
    lab: Lab, lab_host: StartHost, playbook: str, expected: list[str], inventory: dict[str, object]
) -> None:
    host = lab_host("restart-needed")
    host.run('mkdir -p /etc/ansible/facts.d; echo \'{"managed_by": "ocp"}\' > /etc/ansible/facts.d/obproxy.fact')
    variables = inventory | {"obproxy_allow_restart": False}
    before = whole(lab, host)
    done = play(lab, host, playbook=playbook, arguments=("--check",), host_variables={host.name: variables})
    assert_same(before, whole(lab, host))
    assert done.code == (2 if expected else 0), done.text
    for rule in expected:
        assert rule in str(done.failure(host)[1])


def test_a_check_on_the_command_line_prints_findings_and_changes(service: Service, lab_host: StartHost) -> None:
    host = lab_host("no-nc")
    command = [sys.executable, "-m", "service", "submit", "1", str(host.host_id), "--check"]
    access = {"OBPROXY_TAKEOVER_URL": service.url, "OBPROXY_TAKEOVER_PASSWORD_FILE": str(service.password_file)}
    done = subprocess.run(
        command,
        env={**os.environ, **access, "COLUMNS": "200"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "Rule:" in done.stderr and f"Changes by a takeover of {host.name}" in done.stdout
    assert "log_dir_size_threshold" in done.stdout
