"""The fact `obproxy`: it joins the results of host and SQL and judges them."""

from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.facts import (
    Facts,
    build_facts,
    discovered_row,
    found_obproxy,
    is_managed,
    no_sql_facts,
    parameter_definitions,
    pending_restart,
    server_row,
    sql_facts,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.masking import MASK, stage_one
from ansible_collections.obproxy.takeover.plugins.module_utils.rollback_record import BUILT_IN, PROXYRO

HOME = "/opt/taobao/install/obproxy-4.3.1.0"
FACT, RECORD, PENDING = "/etc/ansible/facts.d/obproxy.fact", "/var/before.json", "/var/pending.json"


def _process(**other: Any) -> Facts:
    usual = {
        "pid": 7,
        "ppid": 1,
        "started": 100,
        "keyword": "obproxy",
        "comm": "obproxy",
        "exe": f"{HOME}/bin/obproxy",
        "exe_deleted": False,
        "home": HOME,
        "owner": "admin",
        "named": {"sql_port": 2883, "exporter_port": 2884, "app_name": None},
        "cmdline_start": "./bin/obproxy -p 2883",
        "script": "",
        "ports": [2883, 2884],
        "addresses": {"2883": ["0.0.0.0"], "2884": ["0.0.0.0"], "4884": ["0.0.0.0"]},  # noqa: S104
        "ports_inside": [],
        "defunct": False,
        "home_deleted": False,
        "engine": None,
        "namespaces": [],
        "unreadable": "",
    }
    return usual | other


def _watchdog(**other: Any) -> Facts:
    usual = {"pid": 8, "keyword": "obproxyd.sh", "comm": "obproxyd.sh", "exe": "/usr/bin/bash", "ports": []}
    return _process(**(usual | {"script": f"{HOME}/bin/obproxyd.sh"} | other))


def _supervision(*watchdogs: int, **other: Any) -> Facts:
    found = [{"kind": "obproxyd.sh", "pid": pid} for pid in watchdogs]
    return {"pid": 7, "engine": None, "unit": None, "watchdogs": found, "parents": [], "jobs": []} | other


def _host(*processes: Facts, **other: Any) -> Facts:
    usual: Facts = {
        "supervision": _supervision(*[found["pid"] for found in processes if found["pid"] == 8]),
        "host": {"architecture": "x86_64"},
        "processes": list(processes),
        "holders": {},
        "foreign_addresses": {},
        "listeners": {},
        "disks": [],
        "files": [{"path": path, "text": None, "error": None} for path in (FACT, RECORD, PENDING)],
        "leftovers": [],
        "absent_directories": [],
        "executables": [],
        "packages": ["obproxy-4.3.1.0-1.el7.x86_64"],
        "package": "obproxy-4.3.1.0-1.el7.x86_64",
        "missing_commands": [],
        "commands_checked": True,
        "commands_error": None,
        "packages_error": None,
        "binary_version": "",
    }
    return usual | other


def _sql(binary: str = "ObProxy-OceanBase 4.3.1.0-1", **parameters: str) -> Facts:
    rows = [{"name": name, "value": value, "need_reboot": "false"} for name, value in parameters.items()]
    return sql_facts(rows, binary, [], "cluster", {})


def _wanted(**other: Any) -> Facts:
    usual = {
        "sql_port": 2883,
        "package_name": "obproxy",
        "package_version": "4.3.1.0-1",
        "app_name": None,
        "desired": {},
        "agent_home": "/agent",
        "agent_control": "/agent/bin/ctl",
        "fact_file": FACT,
        "record_file": RECORD,
        "pending_file": PENDING,
        "done_file": "/var/done.json",
        "record": True,
        "discovery_arguments": {},
    }
    return usual | other


def test_one_supervised_proxy_as_the_cluster_wants_it() -> None:
    facts = build_facts(_host(_process(), _watchdog()), _sql(prometheus_listen_port="2884"), _wanted())
    assert facts["process"]["pid"] == 7 and facts["running"]
    assert (facts["watchdogs"], facts["supervised"], facts["foreign_processes"]) == ([8], True, [])
    assert (facts["version"], facts["version_from"]) == ("4.3.1.0-1", "SHOW PROXYINFO BINARY")
    assert facts["exporter"] == {"port": 2884, "held_by": "proxy", "holder": None, "address": "127.0.0.1"}
    assert facts["drift"] == []
    assert server_row(facts) == {
        "pid": 7,
        "version": "4.3.1.0-1",
        "architecture": "x86_64",
        "home": HOME,
        "owner": "admin",
        "package": "obproxy-4.3.1.0-1.el7.x86_64",
        "start_mode": "rs_list",
        "supervised": True,
        "pending_restart": [],
        "drift": [],
    }


def test_everything_about_an_obproxy_is_in_the_fact() -> None:
    process, found_script = _process(), _process(pid=9, comm="sh", exe="/usr/bin/sh", script="/x/bin/obproxyd.sh")
    files = [
        {"path": FACT, "text": '{"managed_by": "ocp"}', "error": None},
        {"path": RECORD, "text": '{"pid": 7, "parameters": {"a": "1"}}', "error": None},
        {"path": PENDING, "text": '{"started": 100, "parameters": ["work_thread_num"]}', "error": None},
        {"path": "/var/done.json", "text": '{"restart": 1}', "error": None},
    ]
    host = _host(
        process,
        _watchdog(),
        found_script | {"home": "/x"},
        files=files,
        disks=[{"description": "/var: full", "error": ""}],
        leftovers=["/var/old"],
        absent_directories=["/var/lib"],
        executables=["/agent/bin/ctl"],
        missing_commands=["nc"],
        commands_checked=False,
        commands_error="no shell",
        packages_error="locked",
        package=None,
    )
    sql = _sql(prometheus_listen_port="2884")
    assert build_facts(host, sql, _wanted(discovery_arguments={"sql_port": 2883})) == sql | {
        "sql_port": 2883,
        "sql_address": "127.0.0.1",
        "discovery_arguments": {"sql_port": 2883},
        "host": {"architecture": "x86_64"},
        "running": True,
        "process": process,
        "draining": [],
        "proxies": [f"obproxy with pid 7 of admin in {HOME} at ports 2883, 2884 (./bin/obproxy -p 2883)"],
        "sql_ports": [2883],
        "defunct": [],
        "port_holder": None,
        "watchdogs": [8],
        "supervisor": {"kind": "obproxyd.sh", "description": "its watchdog obproxyd.sh with pid 8", "unit": ""},
        "supervised": True,
        "foreign_processes": ["obproxy with pid 9 of admin in /x at ports 2883, 2884 (./bin/obproxy -p 2883)"],
        "package": None,
        "packages": ["obproxy-4.3.1.0-1.el7.x86_64"],
        "packages_error": "locked",
        "missing_commands": ["nc"],
        "commands_checked": False,
        "commands_error": "no shell",
        "disks": [{"description": "/var: full", "error": ""}],
        "agent": {"home": "/agent", "present": True},
        "local_fact": {"managed_by": "ocp"},
        "recorded": {"pid": 7, "parameters": {"a": "1"}},
        "done": {"restart": 1},
        "absent_directories": ["/var/lib"],
        "pending_restart": ["work_thread_num"],
        "leftovers": ["/var/old"],
        "unreadable": [],
        "version": "4.3.1.0-1",
        "version_from": "SHOW PROXYINFO BINARY",
        "exporter": {"port": 2884, "held_by": "proxy", "holder": None, "address": "127.0.0.1"},
        "drift": [],
        "parameter_drift": [],
        "password_drift": [],
    }


def test_a_host_without_files_has_no_record_and_no_manager() -> None:
    facts = build_facts(_host(files=[]), no_sql_facts("untried", None), _wanted())
    assert (facts["local_fact"], facts["recorded"], facts["done"], facts["unreadable"]) == (None, None, {}, [])
    assert facts["agent"] == {"home": "/agent", "present": False}


def test_the_parameters_of_a_record_are_left_out_unless_they_are_needed() -> None:
    record = {"path": RECORD, "text": '{"pid": 7, "parameters": {"a": "1"}}', "error": None}
    facts = build_facts(_host(_process(), files=[record]), _sql(), _wanted(record=False))
    assert facts["recorded"] == {"pid": 7}


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({"ports": []}, ""),
        ({"ports": [3883, 3884]}, " at ports 3883, 3884"),
        (
            {"ports": [], "ports_inside": [2883, 2884], "engine": "podman"},
            " at ports 2883, 2884 of a network namespace of its own in a container (podman)",
        ),
        ({"ports": [1], "ports_inside": [2]}, " at ports 1 at ports 2 of a network namespace of its own"),
    ],
)
def test_a_foreign_process_is_described(where: Facts, text: str) -> None:
    other = _process(pid=9, home="/x", cmdline_start="./obproxy …", **where)
    facts = build_facts(_host(_process(), other), _sql(), _wanted())
    assert facts["foreign_processes"] == [f"obproxy with pid 9 of admin in /x{text} (./obproxy …)"]


def test_during_a_hot_restart_the_child_is_the_obproxy_and_its_parent_drains() -> None:
    old, new = _process(), _process(pid=9, ppid=7)
    facts = build_facts(_host(old, new), _sql(), _wanted())
    assert (facts["process"], facts["draining"], facts["foreign_processes"]) == (new, [old], [])
    assert len(facts["proxies"]) == 1


@pytest.mark.parametrize("child", [{"ports": [3883]}, {"home": "/x", "ports": [2883]}])
def test_an_obproxy_with_another_child_does_not_drain(child: Facts) -> None:
    facts = build_facts(_host(_process(), _process(pid=9, ppid=7, **child)), _sql(), _wanted())
    assert (facts["process"]["pid"], facts["draining"]) == (7, [])


def test_an_obproxy_is_known_by_its_name_or_its_executable() -> None:
    renamed = build_facts(_host(_process(comm="worker")), _sql(), _wanted())
    unreadable = build_facts(_host(_process(exe="")), _sql(), _wanted())
    other = build_facts(_host(_process(comm="nginx", exe="/usr/sbin/nginx")), _sql(), _wanted())
    assert [facts["running"] for facts in (renamed, unreadable, other)] == [True, True, False]


@pytest.mark.parametrize(
    ("proxy", "other"),
    [
        (_process(), _process(pid=9, script=f"{HOME}/bin/obproxy", ports=[])),  # a second OBProxy
        (_process(engine="podman"), _watchdog(pid=9)),  # its home is in the container
        (_process(), _watchdog(pid=9, script="")),
        (None, _watchdog(pid=9)),
    ],
    ids=["obproxy", "container", "no script", "no obproxy"],
)
def test_a_process_in_the_home_is_foreign_unless_it_is_its_script(proxy: Facts | None, other: Facts) -> None:
    facts = build_facts(_host(*([proxy] if proxy else []), other), _sql(), _wanted())
    assert len(facts["foreign_processes"]) == 1 and "with pid 9 " in facts["foreign_processes"][0]


@pytest.mark.parametrize(
    ("supervision", "supervisor"),
    [
        (None, {"kind": "none", "description": "nothing", "unit": ""}),
        (
            {"problem": "no /proc"},
            {"kind": "unknown", "description": "unknown, it could not be read: no /proc", "unit": ""},
        ),
    ],
)
def test_an_obproxy_without_a_known_supervisor(supervision: Facts | None, supervisor: Facts) -> None:
    facts = build_facts(_host(_process(), supervision=supervision), _sql(), _wanted())
    assert (facts["supervisor"], facts["supervised"], facts["watchdogs"]) == (supervisor, False, [])


@pytest.mark.parametrize(
    ("pid", "expected"),
    [(None, ["the sockets of port 2883's process: Permission denied", "no disk"]), (3, ["no disk"])],
)
def test_unreadable_sockets_and_disks_are_not_absent(pid: int | None, expected: list[str]) -> None:
    holder: Facts = {"pid": pid, "comm": "x", "exe": "/x", "owner": "admin", "unreadable": "Permission denied"}
    disks = [{"description": "no disk", "error": "it is not mounted"}, {"description": "/var", "error": ""}]
    facts = build_facts(_host(holders={"2883": holder}, disks=disks), no_sql_facts("untried", None), _wanted())
    assert facts["unreadable"] == expected


def test_the_reading_of_an_obproxy_in_full() -> None:
    rows: list[Facts] = [
        {"name": "rootservice_list", "value": "192.0.2.1:2881", "need_reboot": "true"},
        {"name": PROXYRO, "value": stage_one("Given#1"), "need_reboot": "false"},
        {"name": "obproxy_sys_password", "value": "", "need_reboot": "false"},
    ]
    desired = {PROXYRO: "Wished#1", "obproxy_sys_password": None}
    found = sql_facts(rows, "ObProxy", ["b", "a"], "cluster", desired, "Given#1")
    assert found == {
        "login": "cluster",
        "login_error": None,
        "binary": "ObProxy",
        "parameters": {PROXYRO: MASK, "obproxy_sys_password": "", "rootservice_list": "192.0.2.1:2881"},
        "restart_parameters": ["rootservice_list"],
        "passwords_as_desired": {PROXYRO: False},
        "built_in_passwords": [],
        "proxyro_as_given": True,
        "clusters": ["a", "b"],
        "start_mode": "rs_list",
        "config_server_url": "",
        "rs_list": "192.0.2.1:2881",
    }
    built_in = [{"name": PROXYRO, "value": BUILT_IN[PROXYRO], "need_reboot": "false"}]
    assert sql_facts(built_in, "", [], "cluster", desired)["built_in_passwords"] == [PROXYRO]
    assert not sql_facts(rows, "", [], "cluster", {}, "Other#1")["proxyro_as_given"]
    assert not sql_facts([], "", [], "cluster", {}, None)["proxyro_as_given"]
    assert no_sql_facts("denied", "1045") == {
        **{"login": "denied", "login_error": "1045", "binary": "", "parameters": {}, "restart_parameters": []},
        **{"passwords_as_desired": {}, "built_in_passwords": [], "proxyro_as_given": False, "clusters": []},
        **{"start_mode": None, "config_server_url": "", "rs_list": ""},
    }


def test_only_the_package_of_an_obproxy_can_be_known_to_be_none() -> None:
    facts = build_facts(_host(_process(), package=None), no_sql_facts("untried", None), _wanted())
    row = discovered_row(facts, {})
    assert row["package"] is None and "start_mode" not in row
    assert row["login_error"] == "untried"


def test_parameters_and_passwords_that_differ_are_drift() -> None:
    rows = [
        {"name": name, "value": value, "need_reboot": "false"}
        for name, value in {
            "work_thread_num": "4",
            "client_max_memory_size": "2GB",
            "observer_sys_password": "x",
        }.items()
    ]
    sql = sql_facts(rows, "", [], "cluster", {"observer_sys_password": "Proxyro#1", "obproxy_sys_password": None})
    desired = {"work_thread_num": 8, "client_max_memory_size": "2048MB", "proxy_id": 3, "absent": 1}
    facts = build_facts(_host(_process()), sql, _wanted(desired=desired))
    assert facts["parameter_drift"] == [{"name": "work_thread_num", "expected": "8", "found": "4"}]
    assert facts["password_drift"] == ["observer_sys_password"]
    old = build_facts(_host(_process()), sql | {"binary": "ObProxy-OceanBase 1.9.1.1-1"}, _wanted())
    assert old["password_drift"] == [], "its password of proxyro is a constant"
    parameters = {"parameters": sql["parameters"], "parameter_definitions": {}}
    row = discovered_row(facts, parameters)
    assert row == server_row(facts) | parameters | {
        "parameter_drift": facts["parameter_drift"],
        "password_drift": facts["password_drift"],
    }


def test_a_discovery_without_login_reports_the_reason_and_no_parameters() -> None:
    facts = build_facts(_host(_process()), no_sql_facts("denied", "1045: Access  denied"), _wanted(desired={"a": 1}))
    assert discovered_row(facts, {}) == server_row(facts) | {"login_error": "1045: Access denied"}
    nothing = build_facts(_host(), no_sql_facts("untried", None), _wanted())
    assert discovered_row(nothing, {}) == {}


def test_the_found_obproxy_for_the_discovery_of_hosts() -> None:
    process = _process(named={"sql_port": 2883, "exporter_port": 2884, "app_name": "by_name"})
    note = {"path": FACT, "text": '{"managed_by": "ocp", "cluster_name": "c"}', "error": None}
    facts = build_facts(_host(process, _watchdog(), files=[note]), _sql(app_name="stored"), _wanted())
    assert found_obproxy(facts) == {
        "sql_port": 2883,
        "pid": 7,
        "version": "4.3.1.0-1",
        "package": "obproxy-4.3.1.0-1.el7.x86_64",
        "app_name": "stored",
        "home": HOME,
        "owner": "admin",
        "supervisor": "obproxyd.sh",
        "start_mode": "rs_list",
        "login": "cluster",
        "managed_by": "ocp",
        "managed_cluster": "c",
    }
    unnamed = build_facts(_host(_process()), no_sql_facts("denied", "no"), _wanted())
    assert found_obproxy(unnamed)["app_name"] is None
    denied = build_facts(_host(process), no_sql_facts("denied", "no"), _wanted())
    assert (found_obproxy(denied)["app_name"], found_obproxy(denied)["login"]) == ("by_name", "denied")
    nothing = build_facts(_host(), no_sql_facts("untried", None), _wanted())
    assert found_obproxy(nothing) == {"sql_port": 2883, "pid": None}


def test_parameter_definitions_are_read() -> None:
    usual: Facts = {"info": "how many", "need_reboot": "false", "range": "[1,2]", "visible_level": "USER"}
    rows: list[Facts] = [
        usual | {"name": "work_thread_num", "value": "4", "need_reboot": "true"},
        usual | {"name": "json_config_version", "visible_level": "virtual", "range": None, "info": None},
        {"name": "app_name", "info": "of an old version", "need_reboot": "true", "visible_level": "USER"},
    ]
    assert parameter_definitions(rows) == {
        "work_thread_num": ["how many", True, "[1,2]", False],
        "json_config_version": ["", False, "", True],
        "app_name": ["of an old version", True, "", True],
    }


def test_facts_of_a_host_without_obproxy() -> None:
    facts = build_facts(_host(package=None), no_sql_facts("untried", None), _wanted())
    assert not facts["running"] and facts["process"] is None
    assert (facts["version"], facts["version_from"]) == ("4.3.1.0-1", "the installed package")
    assert (facts["drift"], server_row(facts)) == ([], {})


def test_a_second_proxy_and_its_watchdog_are_others() -> None:
    other = _process(pid=9, home="/home/x", ports=[3883], exe="/home/x/bin/obproxy")
    theirs = _watchdog(pid=10, home="/home/x", script="/home/x/bin/obproxyd.sh")
    facts = build_facts(_host(other, _process(), theirs, _watchdog()), _sql(), _wanted())
    assert len(facts["proxies"]) == 2 and facts["process"]["pid"] == 7
    assert [text.split(" of ")[0] for text in facts["foreign_processes"]] == [
        "obproxy with pid 9",
        "obproxyd.sh with pid 10",
    ]
    assert "at ports 3883" in facts["foreign_processes"][0]
    assert facts["sql_ports"] == [2883, 3883]


def test_the_own_port_comes_first_among_many_processes_with_the_name_of_an_obproxy() -> None:
    usual = _process()["named"]
    others = [_process(pid=100 + port, ports=[port], named=usual | {"sql_port": port}) for port in range(1, 400)]
    ports = build_facts(_host(*others, _process()), _sql(), _wanted())["sql_ports"]
    assert ports == [2883, *range(1, 50)]


@pytest.mark.parametrize(
    "copy",
    [
        _watchdog(pid=82, ppid=8),  # it has just been forked
        _watchdog(pid=82, ppid=8, exe="/usr/bin/nc", script=""),  # and become nc
    ],
)
def test_a_watchdog_that_checks_the_port_is_found(copy: Facts) -> None:
    facts = build_facts(_host(_process(), _watchdog(), copy), _sql(), _wanted())
    assert (facts["watchdogs"], facts["foreign_processes"]) == ([8], [])
    second = _process(pid=9, ppid=8, home="/home/x", ports=[])
    assert len(build_facts(_host(_process(), _watchdog(), second), _sql(), _wanted())["foreign_processes"]) == 1


@pytest.mark.parametrize(
    ("script", "own"),
    [
        ({}, True),
        ({"home": "/", "script": f"{HOME}/bin/obproxyd.sh"}, True),
        ({"home": HOME, "script": "/elsewhere/obproxyd.sh"}, True),
        ({"home": "/", "script": "/obproxyd.sh"}, False),
    ],
)
def test_a_control_script_of_the_home_is_its_own_and_no_watchdog(script: Facts, own: bool) -> None:
    facts = build_facts(_host(_process(), _watchdog(pid=18, **script)), _sql(), _wanted())
    assert facts["supervised"] is False and bool(facts["foreign_processes"]) is not own


def test_a_watchdog_counts_wherever_it_was_started() -> None:
    """The deployer's lies in the home itself and works in the directory of a login."""
    watchdog = _watchdog(home="/home/admin", script="/home/admin/obproxy/obproxyd.sh")
    facts = build_facts(_host(_process(), watchdog), _sql(), _wanted())
    assert (facts["watchdogs"], facts["foreign_processes"], facts["supervisor"]["kind"]) == ([8], [], "obproxyd.sh")


def test_unreadable_files_are_not_absent() -> None:
    blind = _process(exe="", home="", ports=[], unreadable="Permission denied")
    holder: Facts = {"pid": None, "comm": "", "exe": "", "owner": "admin", "unreadable": "Permission denied"}
    files = [
        {"path": FACT, "text": None, "error": "Permission denied"},
        {"path": RECORD, "text": "garbage", "error": None},
        {"path": PENDING, "text": None, "error": "it is a symbolic link"},
    ]
    host = _host(blind, holders={"2883": holder}, files=files, supervision=None)
    facts = build_facts(host, no_sql_facts("untried", None), _wanted())
    assert facts["unreadable"] == [
        "/proc of pid 7 (obproxy): Permission denied",
        f"{RECORD}: it is not a JSON object",
        f"{PENDING}: it is a symbolic link",
    ]
    assert "could not be read: Permission denied" in facts["port_holder"]["description"]
    assert facts["local_fact"]["managed_by"] == "unknown (the file cannot be read: Permission denied)"
    problem = build_facts(_host(_process(), supervision={"problem": "no"}), _sql(), _wanted())
    assert (problem["supervisor"]["kind"], problem["supervised"], problem["drift"]) == ("unknown", False, [])
    broken = _host(_process(), _watchdog(), package=None, packages=[], packages_error="error: cannot open")
    assert build_facts(broken, _sql(), _wanted())["drift"] == []


def test_a_defunct_process_is_none() -> None:
    dead = _process(pid=9, exe="", home="", ports=[], defunct=True)
    facts = build_facts(_host(dead, _process(), _watchdog()), _sql(), _wanted())
    assert (len(facts["proxies"]), facts["foreign_processes"], facts["defunct"]) == (1, [], ["pid 9, parent 1"])


@pytest.mark.parametrize(
    ("found", "wanted", "drift"),
    [
        ({"app_name": "prod"}, "test", ["its app_name is 'prod', the cluster's is 'test'"]),
        ({"app_name": ""}, "test", ["its app_name is '', the cluster's is 'test'"]),
        ({"app_name": "test"}, "test", []),
        ({"app_name": "prod"}, None, []),
        ({}, "test", []),
    ],
)
def test_another_application_name_is_drift(found: dict[str, str], wanted: str | None, drift: list[str]) -> None:
    facts = build_facts(_host(_process(), _watchdog()), _sql(**found), _wanted(app_name=wanted))
    assert facts["drift"] == drift


@pytest.mark.parametrize(
    ("binary", "host", "version", "source"),
    [
        ("", {}, "4.3.1.0-1", "its package"),
        ("", {"package": None, "binary_version": "obproxy (OceanBase 4.3.1.0 11.el7)"}, "4.3.1.0-11", "obproxy -V"),
        ("", {"package": None}, "4.3.1.0", "its path"),
        ("ObProxy-OceanBase 4.2.0.0-9.el7", {}, "4.2.0.0-9", "SHOW PROXYINFO BINARY"),
    ],
)
def test_where_the_version_is_read(binary: str, host: Facts, version: str, source: str) -> None:
    facts = build_facts(_host(_process(), **host), _sql(binary), _wanted())
    assert (facts["version"], facts["version_from"]) == (version, source)


def test_a_version_can_be_unknown() -> None:
    host = _host(_process(exe="/opt/obproxy/bin/obproxy"), package=None, packages=[])
    facts = build_facts(host, _sql(""), _wanted())
    assert (facts["version"], facts["version_from"]) == (None, None)


@pytest.mark.parametrize(
    ("process", "host", "wanted", "sentence"),
    [
        ({}, {"package": None, "packages": []}, {}, "belongs to no package"),
        ({}, {"package": "obproxy-ce-4.3.1.0-1.el7.x86_64"}, {}, "belongs to obproxy-ce-4.3.1.0-1.el7.x86_64"),
        ({}, {}, {"package_version": "4.3.2.0-5"}, "version 4.3.1.0-1 runs, the cluster's is 4.3.2.0-5"),
        ({"exe_deleted": True}, {}, {}, "replaced or removed since"),
    ],
)
def test_drift_is_reported(process: Facts, host: Facts, wanted: Facts, sentence: str) -> None:
    facts = build_facts(_host(_process(**process), _watchdog(), **host), _sql(), _wanted(**wanted))
    assert len(facts["drift"]) == 1 and sentence in facts["drift"][0]


def test_an_unsupervised_proxy_drifts() -> None:
    assert build_facts(_host(_process()), _sql(), _wanted())["drift"] == ["no watchdog (obproxyd.sh) supervises it"]


@pytest.mark.parametrize(
    ("host", "held_by"),
    [
        ({}, "none"),
        ({"listeners": {"4884": "prom"}}, "other"),
        (
            {
                "listeners": {"4884": "prom"},
                "holders": {"4884": {"pid": 3, "comm": "x", "exe": "/x", "owner": "prom", "unreadable": ""}},
            },
            "other",
        ),
    ],
)
def test_the_holder_of_the_exporter_s_port(host: Facts, held_by: str) -> None:
    exporter = build_facts(_host(_process(), **host), _sql(prometheus_listen_port="4884"), _wanted())["exporter"]
    assert (exporter["port"], exporter["held_by"]) == (4884, held_by)
    assert (exporter["holder"] is None) == (held_by == "none")
    assert exporter["holder"] is None or "owner prom" in exporter["holder"]["description"]


@pytest.mark.parametrize(
    ("text", "manager"),
    [('{"managed_by": "ocp"}', "ocp"), ("garbage", "unknown (the file is not a JSON object)"), ("[]", None)],
)
def test_the_note_of_a_manager(text: str, manager: str | None) -> None:
    facts = build_facts(_host(_process(), files=[{"path": FACT, "text": text, "error": None}]), _sql(), _wanted())
    assert facts["local_fact"]["managed_by"] == manager or manager is None
    assert facts["local_fact"]["managed_by"]


def test_pending_restart_ends_with_the_restart() -> None:
    note: Facts = {"started": 100, "parameters": ["work_thread_num"]}
    assert pending_restart(note, _process()) == ["work_thread_num"]
    assert pending_restart(note, _process(started=101)) == []
    assert pending_restart({"started": 100}, _process()) == []
    assert pending_restart(note, None) == [] and pending_restart(None, _process()) == []


def test_a_reading_hides_secrets_and_compares_them() -> None:
    rows: list[Facts] = [
        {"name": "obproxy_sys_password", "value": stage_one("Right#1"), "need_reboot": "false"},
        {"name": "observer_sys_password", "value": stage_one("Other#1"), "need_reboot": "false"},
        {"name": "inspector_password", "value": "plain", "need_reboot": "false"},
        {"name": "observer_sys_password1", "value": "", "need_reboot": "false"},
        {"name": "obproxy_config_server_url", "value": "http://x", "need_reboot": "true"},
        {"name": "json_config_version", "value": None, "need_reboot": "false"},
    ]
    desired = {"obproxy_sys_password": "Right#1", "observer_sys_password": "Wished#1"}
    found = sql_facts(rows, "", ["b", "a", "b"], "given", desired)
    assert found["parameters"]["obproxy_sys_password"] == found["parameters"]["inspector_password"] == MASK
    assert found["parameters"]["observer_sys_password1"] == found["parameters"]["json_config_version"] == ""
    assert found["passwords_as_desired"] == {"obproxy_sys_password": True, "observer_sys_password": False}
    assert found["restart_parameters"] == ["obproxy_config_server_url"]
    assert (found["start_mode"], found["clusters"]) == ("config_url", ["a", "b"])
    assert stage_one("Right#1") not in str(found) and "plain" not in str(found)


def test_an_unset_desired_password_is_no_difference() -> None:
    assert sql_facts([], "", [], "empty", {"obproxy_sys_password": None})["passwords_as_desired"] == {}


@pytest.mark.parametrize(
    ("fact", "managed"),
    [
        (None, False),
        ({"managed_by": "ocp"}, True),
        ({"managed_by": "ocp", "sql_port": 2883}, True),
        ({"managed_by": "ocp", "sql_port": 3306}, False),  # of another OBProxy on the host
        ({"managed_by": "another", "sql_port": 2883}, False),
        ({}, False),
    ],
    ids=str,
)
def test_the_local_fact_names_the_manager_of_a_port(fact: Facts | None, managed: bool) -> None:
    assert is_managed({"local_fact": fact, "sql_port": 2883}, "ocp") is managed
