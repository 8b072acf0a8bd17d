"""Recognises the supervisor of an OBProxy from its parents, its control group and its watchdogs."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.programs import crontabs, supervision
from ansible_collections.obproxy.takeover.plugins.module_utils.supervisors import supervisor_of

NOTHING: dict[str, Any] = {"pid": 10, "engine": None, "unit": None, "watchdogs": [], "parents": []}
JOBS = [
    {"file": "/etc/crontab", "line": "* * * * * root obproxyd.sh"},
    {"file": "/etc/cron.d/other", "line": "@hourly root obproxyd.sh"},
]


def parent(comm: str, program: str = "", pid: int = 5) -> dict[str, Any]:
    return {"pid": pid, "comm": comm, "program": program}


def unit(name: str, main_pid: int = 0, starts: str = "") -> dict[str, Any]:
    return {"name": name, "main_pid": main_pid, "starts": starts}


@pytest.mark.parametrize(
    ("found", "kind", "description"),
    [
        ({}, "none", "nothing"),
        ({"watchdogs": [{"kind": "obproxyd.sh", "pid": 7}]}, "obproxyd.sh", "its watchdog obproxyd.sh with pid 7"),
        ({"watchdogs": [{"kind": "obd", "pid": 7}]}, "obd", "the deployer's watchdog obproxyd.sh with pid 7"),
        ({"unit": unit("obproxy.service", 10)}, "systemd", "the systemd unit obproxy.service"),
        (
            {"unit": unit("odp.service", 0, "{ path=/opt/obproxy/bin/obproxy ; }")},
            "systemd",
            "the systemd unit odp.service",
        ),
        ({"unit": unit("ssh.service", 3)}, "none", "nothing"),
        ({"unit": unit("ocp_agent.service", 3), "watchdogs": [{"kind": "obproxyd.sh", "pid": 7}]}, "obproxyd.sh", None),
        ({"unit": unit("crond.service", 3)}, "cron", "a job of crond.service"),
        ({"unit": unit("supervisor.service", 5), "parents": [parent("supervisord")]}, "supervisord", None),
        ({"parents": [parent("supervisord")]}, "supervisord", "supervisord with pid 5"),
        ({"parents": [parent("cron")]}, "cron", "cron with pid 5"),
        (
            {"parents": [parent("runuser", pid=6), parent("keeper", "/bin/bash /usr/local/sbin/keeper")]},
            "keeper",
            "keeper with pid 5 (/bin/bash /usr/local/sbin/keeper)",
        ),
        (
            {"watchdogs": [{"kind": "obproxyd.sh", "pid": 7}, {"kind": "obd", "pid": 8}, {"kind": "obd", "pid": 9}]},
            "obd",
            "the deployer's watchdog obproxyd.sh with pid 8, 9",
        ),
        (  # the main process of a unit is a parent: it comes before a watchdog
            {
                "unit": unit("keeper.service", 5),
                "parents": [parent("keeper")],
                "watchdogs": [{"kind": "obproxyd.sh", "pid": 7}],
            },
            "keeper",
            "keeper with pid 5",
        ),
        ({"jobs": JOBS}, "cron", "a job in /etc/crontab (* * * * * root obproxyd.sh)"),
        ({"jobs": JOBS, "parents": [parent("keeper")]}, "keeper", "keeper with pid 5"),
        ({"engine": "docker", "parents": [parent("tini")]}, "container", "a container (docker)"),
    ],
)
def test_it_is_recognised_and_named(found: dict[str, Any], kind: str, description: str | None) -> None:
    supervisor = supervisor_of(NOTHING | found)
    assert supervisor.kind == kind and description in (None, supervisor.description)
    assert supervisor.may_be_restarted == (kind in ("none", "obproxyd.sh", "obd", "systemd"))
    assert supervisor.restarts_itself == (kind in ("obd", "systemd"))
    assert supervisor.unit == (found["unit"]["name"] if kind == "systemd" else "")


@pytest.mark.parametrize("carrier", ["runuser", "su", "sudo", "setsid", "nohup", "env"])
def test_a_program_that_only_runs_another_one_supervises_nothing(carrier: str) -> None:
    assert supervisor_of(NOTHING | {"parents": [parent(carrier)]}).kind == "none"


@pytest.mark.parametrize("name", ["cron", "crond", "cronie", "anacron"])
def test_every_cron_daemon_is_known(name: str) -> None:
    assert supervisor_of(NOTHING | {"parents": [parent(name)]}).kind == "cron"
    assert supervisor_of(NOTHING | {"unit": unit(f"{name}.service")}).kind == "cron"


def test_crontabs_are_read_whatever_lies_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian keeps the users' crontabs in a directory below the one that others keep them in."""
    users = tmp_path / "cron" / "crontabs"
    users.mkdir(parents=True)
    os.mkfifo(tmp_path / "cron" / "fifo")
    (tmp_path / "cron" / "link").symlink_to("/etc/passwd")
    (users / "admin").write_text("* * * * * /opt/odp/bin/obproxyd.sh -c start\n")
    (tmp_path / "secret").write_text("* * * * * pgrep obproxy --password secret\n")
    (users / "second-name").hardlink_to(tmp_path / "secret")
    users.chmod(0o1770)
    monkeypatch.setattr(crontabs, "CRONTABS", (str(tmp_path / "cron"), str(users), str(tmp_path / "none")))
    assert [job["file"] for job in crontabs.cron_jobs_of(["/opt/odp"])] == [str(users / "admin")]
    assert supervision.recorded_pid(str(users)) == 0


def _jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, *homes: str) -> list[str]:
    """Return the lines of the jobs of a crontab with one line, as they are shown."""
    (tmp_path / "admin").write_text(line + "\n")
    monkeypatch.setattr(crontabs, "CRONTABS", (str(tmp_path),))
    return [job["line"] for job in crontabs.cron_jobs_of([*homes])]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("* * * * * /opt/odp/bin/obproxyd.sh -c start", "/opt/odp/bin/obproxyd.sh"),
        (
            "* * * * * pgrep -x obproxy || (cd /opt/odp && ./bin/obproxy -o obproxy_sys_password=Se1)",
            "obproxy /opt/odp ./bin/obproxy",
        ),
        ("* * * * * obproxy_pwd=Se1 sh -c 'pgrep obproxy || /opt/odp/bin/start -p Se1'", "obproxy /opt/odp/bin/start"),
        (
            '@hourly mysql -pobproxySe1 -uroot@obproxy; curl http://u:Se1@h/obproxy; "/opt/odp/bin/run"',
            "/opt/odp/bin/run",
        ),
        ("* * * * * HOME=/opt/odp/bin/x obproxy.sh", "obproxy.sh"),
        ("* * * * * cd /opt/odp && ./bin/obproxy -p 2883 -o a=Se1", "/opt/odp ./bin/obproxy"),
        ("*/5 * * * * su - admin -c 'cd \"/opt/odp/\"; bin/obproxy -p 2883'", "bin/obproxy"),
        ("* * * * * (cd /opt/odp/bin; LD_LIBRARY_PATH=../lib nohup ./obproxy -p 2883 &)", "./obproxy"),
        ("* * * * * cd /opt/odp && if ! nc -z ::1 2883; then ./bin/obproxy; fi", "/opt/odp ./bin/obproxy"),
        ("* * * * * cd /opt/odp && nc -z ::1 2883 || { ./bin/obproxy -p 2883; }", "/opt/odp ./bin/obproxy"),
        ("* * * * * cd /opt/odp && sh -c './bin/obproxy -p 2883'", "/opt/odp ./bin/obproxy"),
        ("* * * * * cd /opt/odp && flock -n run/lock ./bin/obproxy -p 2883", "/opt/odp ./bin/obproxy"),
        ("* * * * * cd /opt/odp && sudo -u admin A=1 ./bin/obproxy", "/opt/odp ./bin/obproxy"),
        (
            "@reboot while sleep 5; do nc -z 127.0.0.1 2883 || (cd /opt/odp && ./bin/obproxy); done",
            "/opt/odp ./bin/obproxy",
        ),
        ("@reboot until false; do pgrep obproxy || /opt/odp/bin/obproxy; done", "obproxy /opt/odp/bin/obproxy"),
        ("* * * * * mysql --password obproxySe1 -e /9j4Se1 && ~/run-obproxy.sh", "~/run-obproxy.sh"),
    ],
)
def test_only_the_programs_of_a_job_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, shown: str
) -> None:
    assert _jobs(tmp_path, monkeypatch, line, "/opt/odp") == [shown]


@pytest.mark.parametrize(
    "line",
    [
        "@reboot cd /opt/odp && ./bin/obproxy -p 2883",
        "@reboot root /opt/odp/bin/obproxyd.sh -c start",
        "* * * * * cd /opt/other && ./bin/obproxy -p 3883",
        "* * * * * cd /opt/odp && tail -n 1 log/obproxy.log",
        "* * * * * cd /opt/odp && cp bin/obproxy /backup",
        "* * * * * cd /opt/odp && flock -n run/lock /opt/other/bin/obproxy",
        "* * * * * cd /opt/odp && sudo -n true; cp bin/obproxy /backup",
        "* * * * * cd /opt/odp && ./bin/obproxy-report",
    ],
)
def test_a_job_that_does_not_start_it_again_is_not_its_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    assert _jobs(tmp_path, monkeypatch, line, "/opt/odp") == []


def test_only_the_start_of_a_long_line_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "* * * * * " + "pgrep x;" * 123
    assert len(_jobs(tmp_path, monkeypatch, f"{line} obproxy", "/opt/odp")) == 0
    assert len(_jobs(tmp_path, monkeypatch, f"{line[8:]} obproxy", "/opt/odp")) == 1


@pytest.mark.parametrize("home", ["", "/", "/usr", "/usr/local"])
def test_a_job_with_another_program_of_the_system_is_not_its_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    backup, start = (f"@daily root {home.rstrip('/')}/bin/{name}" for name in ("backup", "obproxy"))
    assert _jobs(tmp_path, monkeypatch, backup, "/var/lib/odp", home) == []
    assert len(_jobs(tmp_path, monkeypatch, start, "/var/lib/odp", home)) == (home != "/")


@pytest.mark.parametrize(
    ("program", "without_environment", "starts"),
    [
        ("exit 0", True, True),
        ('[ "$L" ] && exit 0; exit 127', False, True),
        ("exit 255", False, True),  # an old version that does not know -V
        ("exit 127", False, False),
        (None, False, False),
    ],
)
def test_a_program_starts_if_it_can_be_executed(
    monkeypatch: pytest.MonkeyPatch, program: str | None, without_environment: bool, starts: bool
) -> None:
    def relaunch(process: dict[str, Any], arguments: list[str]) -> subprocess.Popen[bytes]:
        if program is None:
            raise PermissionError
        assert arguments == ["./bin/obproxy", "-V"]
        return subprocess.Popen(["/bin/sh", "-c", program], env=process["environment"])

    fakes: dict[str, Any] = {
        "relaunch": relaunch,
        "launch_state": lambda _process: {"arguments": ["./bin/obproxy", "-p", "2883"], "environment": {"L": "1"}},
        "read_supervision": lambda *_: {},
        "identity": lambda _pid: {},
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(supervision, name, fake)
    found = supervision.supervision({"pid": os.getpid(), "home": "/", "homes": ["/"], "sql_port": 2883})
    assert (found["starts_without_environment"], found["starts"]) == (without_environment, starts)
