"""Discovery and takeover of hosts that others have set up: the right result, or the cause with a remedy that works."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from tests.roles.playing import Play, play

from . import Lab, remedies, situations
from .fixtures import StartHost
from .host import HostSpec, LabHost
from .test_precheck import assert_foreseen, files
from .traffic import Traffic, held

PREPARE = "prepare_obproxy_install"
_CONNECTIONS = 3
_FIRST_HOST_ID = 7000


@dataclass(frozen=True, kw_only=True)
class Case:
    """A situation, and the expected report of a takeover.

    - make: turns a running host into it; None leaves the host as it is
    - report: text in the report of the discovery, or in its error; {address} is the host's
    - role: the role that rejects the host; None if it is adopted
    - words: text in the message of the takeover
    - variables: variables of the inventory
    - remedy: applies the fix of the message on the host, with the commands of the message
    - remedied: variables of the inventory after the fix
    """

    make: Callable[[LabHost], object]
    report: tuple[str, ...] = ("version 4.3.1.0",)
    role: str | None = None
    words: tuple[str, ...] = ()
    variables: dict[str, Any] = field(default_factory=dict)
    remedy: Callable[[LabHost, str], object] = lambda host, message: None
    remedied: dict[str, Any] = field(default_factory=dict)


CASES = {
    "deployed by obd": Case(make=partial(situations.obd, threads=8), report=("obd: the deployer's watchdog",)),
    "defunct proxy": Case(make=situations.defunct, report=("version 4.3.1.0", "'defunct': ['pid ")),
    "bound to its address": Case(make=partial(situations.bound, stranger=False), report=("{address}, reached",)),
    "stranger at loopback": Case(make=partial(situations.bound, stranger=True), report=("{address}, reached",)),
    "profile in GBK": Case(make=situations.profile_in_gbk),
    "profile in the background": Case(make=situations.profile_in_background),
    "profile replaces the shell": Case(
        make=situations.profile_replaces_shell,
        role="check_command",
        words=("profile", "[ -t 0 ]"),
        remedy=remedies.mend_profile,
    ),
    "home in GBK": Case(
        make=situations.home_in_gbk,
        report=(r"/data/\\xca\\xfd\\xbe\\xdd/obproxy",),
        role=PREPARE,
        words=("paths are text in UTF-8", r"mv -T $'/data/\xca\xfd\xbe\xdd' /data/obproxy-2883"),
        remedy=remedies.command(r"(mv -T .* && ln -s .*')\.$"),
    ),
    "home removed": Case(
        make=situations.home_removed,
        report=("home /data/obproxy (removed)",),
        role=PREPARE,
        words=("home exists", "/data/obproxy was removed", "install -d -o admin /data/obproxy"),
        remedy=remedies.start_again,
    ),
    "other config server": Case(
        make=situations.other_config_server,
        report=("its app_name is 'prod', the cluster's is 'test'",),
        role=PREPARE,
        words=("with a config server", "http://192.0.2.40:18080/", "reaches obcluster"),
        remedied={"obproxy_ob_clusters": ["obcluster"]},
    ),
    "without ptrace": Case(
        make=situations.without_ptrace,
        report=("could not be read",),
        role=PREPARE,
        words=("can be read", "SYS_PTRACE"),
        variables={"ansible_port": 2222},
        remedied={"ansible_port": 22},
    ),
    "container": Case(
        make=partial(situations.container, network=False),
        report=("namespaces of its own: ",),
        role=PREPARE,
        words=("not in a container", "apart in mnt, pid"),
        remedy=remedies.start_on_the_host,
    ),
    "container with a network": Case(
        make=partial(situations.container, network=True),
        report=("none at port 2883", "of a network namespace of its own"),
        role=PREPARE,
        words=("port 2883 is held by no process", "at ports 2883", "of a network namespace of its own"),
        remedy=remedies.start_on_the_host,
    ),
    "deployed by obd as root": Case(
        make=situations.deployed_by_root,
        report=("owner root, home /root/obproxy", "obd: the deployer's watchdog"),
        role=PREPARE,
        words=("belongs to an ordinary user", "cp -RL /root/obproxy /home/admin/obproxy-2883"),
        remedy=remedies.start_as_admin,
    ),
    "no inodes": Case(
        make=situations.no_inodes,
        role="prepare_create_obproxy",
        words=("/var/lib/obproxy-takeover has", "room for 0 files"),
        remedy=remedies.make_room,
    ),
    "sudo requires a terminal": Case(
        make=situations.requires_tty,
        report=("must have a tty",),
        role="",
        words=("must have a tty",),
        remedy=remedies.command("as root on the host, (echo .*ansible_ops) "),
    ),
    "password of admin expired": Case(
        make=situations.password_expired,
        role="check_command",
        words=("su - admin could not", "chage -d"),
        remedy=remedies.command(r"(chage -d \$\(date \+%F\) admin)"),
    ),
    "account of admin expired": Case(
        make=situations.account_expired,
        role="check_command",
        words=("su - admin could not", "chage -E -1 admin"),
        remedy=remedies.command("(chage -E -1 admin)"),
    ),
    "password of the login user expired": Case(
        make=partial(situations.password_expired, user="ops"),
        report=("expired",),
        role="",
        words=("account on the host is valid",),
        remedy=remedies.command(r"(chage -d \$\(date \+%F\) ops)"),
    ),
    "account of the login user expired": Case(
        make=partial(situations.account_expired, user="ops"),
        report=("expired",),
        role="",
        words=("account on the host is valid",),
        remedy=remedies.command("(chage -E -1 ops)"),
    ),
    "package database broken": Case(
        make=situations.packages_broken,
        role=PREPARE,
        words=("package database", "rpm says: "),
        remedy=remedies.restore_packages,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The hosts by case; digests before and after a takeover; the plays, the last after the remedies; the clients.

    `files` are all files of the hosts before and after the check, which comes between discovery and takeover.
    """

    hosts: dict[str, LabHost]
    before: dict[str, str]
    after: dict[str, str]
    files: tuple[dict[str, set[str]], dict[str, set[str]]]
    discovery: Play
    check: Play
    takeover: Play
    again: Play
    traffic: dict[str, Traffic]


def digest(host: LabHost) -> str:
    """Return a text that differs when an OBProxy, its home or /etc does."""
    return host.run("""export LC_ALL=C
for pid in $(pgrep -x obproxy); do
    echo $pid $(cut -d' ' -f22 /proc/$pid/stat)
    find /proc/$pid/cwd/ -type f -not -path '*/log/*' -exec md5sum {} + 2>/dev/null | sort
done
find /etc -printf '%p %m %u %s %T@\\n' 2>/dev/null | sort""")


@pytest.fixture(scope="module")
def outcome(lab: Lab) -> Iterator[Outcome]:
    """One discovery and one takeover of all cases' hosts at once."""
    names = {case: f"situation-{number}" for number, case in enumerate(CASES)}
    specs = [HostSpec(names[case], _FIRST_HOST_ID + number) for number, case in enumerate(CASES)]
    hosts = dict(zip(CASES, lab.start_many(specs), strict=True))
    own = {names[case]: CASES[case].variables for case in CASES}
    try:
        for case, host in hosts.items():
            CASES[case].make(host)
        before = {case: digest(host) for case, host in hosts.items()}
        with ExitStack() as stack:
            adopted = [case for case in CASES if CASES[case].role is None]
            traffic = {case: stack.enter_context(held(hosts[case], _CONNECTIONS)) for case in adopted}
            discovery = play(lab, *hosts.values(), playbook="discover", host_variables=own)
            unchecked = {case: files(host) for case, host in hosts.items()}
            check = play(lab, *hosts.values(), arguments=("--check",), host_variables=own)
            checked = {case: files(host) for case, host in hosts.items()}
            takeover = play(lab, *hosts.values(), host_variables=own)
        after = {case: digest(host) for case, host in hosts.items()}
        rejected = {case: host for case, host in hosts.items() if CASES[case].role is not None}
        for case, host in rejected.items():
            CASES[case].remedy(host, takeover.failure(host)[1])
        remedied = {host.name: CASES[case].remedied for case, host in rejected.items()}
        again = play(lab, *rejected.values(), host_variables=remedied)
        yield Outcome(
            hosts=hosts,
            before=before,
            after=after,
            files=(unchecked, checked),
            discovery=discovery,
            check=check,
            takeover=takeover,
            again=again,
            traffic=traffic,
        )
    finally:
        for host in hosts.values():
            host.remove()


def messages(play: Play, host: LabHost) -> str:
    """Return the messages of a play about a host, as one text."""
    return "\n".join(str(result.get("msg", "")) for _, result in play.results(host))


@pytest.mark.parametrize("case", CASES)
def test_a_takeover_fails_for_nothing_that_the_check_has_not_reported(outcome: Outcome, case: str) -> None:
    assert_foreseen(outcome.check, outcome.takeover, outcome.hosts[case])


@pytest.mark.parametrize("case", CASES)
def test_the_check_changes_no_file(outcome: Outcome, case: str) -> None:
    before, after = (files[case] for files in outcome.files)
    assert sorted(before ^ after) == []


@pytest.mark.parametrize("case", CASES)
def test_the_discovery_reports(outcome: Outcome, case: str) -> None:
    text = messages(outcome.discovery, outcome.hosts[case])
    words = [word.format(address=outcome.hosts[case].address) for word in CASES[case].report]
    assert not [word for word in words if word not in text], text
    assert "Traceback" not in outcome.discovery.text


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case].role is None])
def test_it_is_adopted_and_no_client_is_disconnected(outcome: Outcome, case: str) -> None:
    host, traffic = outcome.hosts[case], outcome.traffic[case]
    assert outcome.takeover.stats(host)["failures"] == 0, outcome.takeover.failure(host)
    assert not traffic.problems and all(traffic.answers)
    assert outcome.takeover.server(host)["pid"] == host.proxy_pid()


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case].role is not None])
def test_it_is_rejected_by_name_and_left_alone(outcome: Outcome, case: str) -> None:
    role, message = outcome.takeover.failure(outcome.hosts[case])
    assert role == CASES[case].role, message
    assert not [word for word in CASES[case].words if word not in message], message
    assert "Traceback" not in message
    assert outcome.after[case] == outcome.before[case]


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case].role is not None])
def test_the_remedy_makes_it_a_host_that_is_adopted(outcome: Outcome, case: str) -> None:
    host = outcome.hosts[case]
    assert outcome.again.stats(host)["failures"] == outcome.again.stats(host)["unreachable"] == 0, (
        outcome.again.failure(host)
    )
    assert outcome.again.server(host)["pid"] == host.proxy_pid()


def test_a_login_shell_that_hangs_leaves_no_process(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host()
    situations.profile_hangs(host)
    found = play(lab, host, arguments=("--tags", "check_command"))
    role, message = found.failure(host)
    assert role == "check_command" and "su - admin could not check them: it did not end" in message
    assert host.run("pgrep -fl '^(sleep 3000|su - admin|-sh|-bash)' || true") == ""


def test_no_password_is_sent_to_an_unknown_process(outcome: Outcome) -> None:
    assert outcome.hosts["stranger at loopback"].run("cat /var/tmp/stranger") == ""


def test_a_watchdog_of_the_deployer_is_its_own(outcome: Outcome) -> None:
    server = outcome.takeover.server(outcome.hosts["deployed by obd"])
    assert server["supervised"] is True
