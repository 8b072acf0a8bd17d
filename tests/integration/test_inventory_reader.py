"""The inventory reader: when it reads again, which reading counts, how it reports an unreadable inventory."""

import asyncio
import multiprocessing
import os
import re
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.reduction import send_handle
from pathlib import Path

import psutil
import pytest

from service.inventory import environment, reader, snapshot_process
from service.inventory.reader import InventoryReader, read
from service.inventory.snapshot import ForkedProcess
from service.model.errors import InventoryUnreadable
from service.model.settings import PROJECT
from tests.integration import sample_inventories
from tests.integration.inventories import write

DEADLINE = 60.0  # seconds anything here may take


def hosts(**variables: object) -> dict[str, object]:
    test = {"vars": sample_inventories.CLUSTER, "hosts": {"b": {}}}
    return {"all": {"hosts": {"b": {"ocp_host_id": 2, **variables}}, "children": {"test": test}}}


async def test_public_variables_of_a_host_are_resolved(tmp_path: Path) -> None:
    sample = sample_inventories.templated_address(tmp_path)
    found = await read(sample.source)
    assert [host.address for host in found.hosts.values()] == ["10.89.4.10", "10.89.4.11", "10.89.4.12"]
    assert (await read(sample_inventories.connections(tmp_path / "other").source)).hosts[2].address == "192.0.2.2"


async def test_a_cluster_is_shown_as_a_host_in_its_group_would_see_it(tmp_path: Path) -> None:
    found = await read(sample_inventories.priorities(tmp_path).source)
    assert found.clusters[1].variables["obproxy_start_mode"] == "rs_list"
    found = await read(sample_inventories.templates_about_groups(tmp_path / "other").source)
    assert found.clusters[1].variables["obproxy_config_server_url"] == "http://192.0.2.9/services"


async def test_an_unresolvable_variable_is_a_warning_with_host_and_reason(tmp_path: Path) -> None:
    source = tmp_path / "hosts.yml"
    write(source, hosts(ansible_host="{{ net }}.10"))
    found = await read(source)
    (warning,) = found.warnings
    assert "ansible_host of host b cannot be templated" in warning and "'net' is undefined" in warning
    assert found.hosts[2].address == "{{ net }}.10"


def group_vars_beside_a_file(directory: Path) -> tuple[Path, Path]:
    write(directory / "hosts.yml", hosts())
    return directory / "hosts.yml", directory / "group_vars" / "test.yml"


def host_vars_behind_a_link(directory: Path) -> tuple[Path, Path]:
    write(directory / "inventory" / "hosts.yml", hosts())
    (directory / "elsewhere").mkdir()
    (directory / "inventory" / "host_vars").symlink_to(directory / "elsewhere")
    return directory / "inventory", directory / "elsewhere" / "b.yml"


@pytest.mark.parametrize("make", [group_vars_beside_a_file, host_vars_behind_a_link], ids=lambda f: f.__name__)
async def test_an_edit_is_visible_to_the_next_caller(make: Callable[[Path], tuple[Path, Path]], tmp_path: Path) -> None:
    source, edited = make(tmp_path)
    known = InventoryReader(source)
    for port in (2883, 3306, 3307):
        write(edited, {"obproxy_sql_port": port})
        assert (await known.current()).hosts[2].variables["obproxy_sql_port"] == port


async def test_a_reading_that_began_earlier_never_replaces_a_later_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A background reading of a slow source is overtaken by an edit."""
    source, slow = tmp_path / "hosts.yml", asyncio.Event()
    write(source, hosts(ocp_idc_name="old"))
    known = InventoryReader(source)
    assert (await known.current()).hosts[2].idc_name == "old"
    original = reader.read

    async def held_up(*arguments: object) -> reader.Inventory:
        found = await original(*arguments)  # type: ignore[arg-type]
        await slow.wait()
        return found

    monkeypatch.setattr(reader, "MAX_AGE", 0.0)
    monkeypatch.setattr(reader, "MAX_TIME_SHARE", 1e9)
    monkeypatch.setattr(reader, "read", held_up)
    await known.current()  # begins a reading without a caller
    background = known._background_read
    assert background is not None
    await asyncio.sleep(0)
    monkeypatch.setattr(reader, "read", original)
    monkeypatch.setattr(reader, "MAX_AGE", 1e9)
    write(source, hosts(ocp_idc_name="new"))
    assert (await known.current()).hosts[2].idc_name == "new"

    slow.set()
    await background

    assert (await known.current()).hosts[2].idc_name == "new"


async def test_the_last_good_one_counts_while_a_new_one_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "hosts.yml"
    known = InventoryReader(source)
    write(source, hosts())
    good = await known.current()
    source.write_text("all: [\n", encoding="utf-8")
    assert await known.current() == good
    assert known.problem and str(source) in known.problem and "using the last good one" in caplog.text
    write(source, hosts(ocp_idc_name="again"))
    assert (await known.current()).hosts[2].idc_name == "again"
    assert known.problem is None


async def test_the_error_mentions_no_last_good_reading_when_there_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = InventoryReader(tmp_path / "nothing")
    with pytest.raises(InventoryUnreadable):
        await known.current()
    assert "last good" not in caplog.text and "there is none to use instead" in caplog.text


async def test_a_killed_reading_is_repeated(tmp_path: Path) -> None:
    source = tmp_path / "hosts.yml"
    write(source, hosts())
    known = InventoryReader(source)
    before = await known.current()
    psutil.Process(before.snapshot._process.pid).kill()
    await asyncio.to_thread(before.snapshot._process.join, DEADLINE)
    after = await known.current()
    assert after == before and after.snapshot is not before.snapshot


async def test_an_unused_reading_ends(tmp_path: Path) -> None:
    source = tmp_path / "hosts.yml"
    write(source, hosts())
    found = await read(source)
    process = psutil.Process(found.snapshot._process.pid)
    del found
    await asyncio.to_thread(process.wait, DEADLINE)


async def test_reading_that_takes_too_long_is_ended_with_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "slow.sh"
    source.write_text("#!/bin/sh\nsleep 6543 &\nsleep 6543\n", encoding="utf-8")
    source.chmod(0o700)
    monkeypatch.setattr("service.inventory.snapshot.READ_TIMEOUT", 3.0)
    with pytest.raises(InventoryUnreadable, match=r"slow\.sh.*took longer than 3 s"):
        await read(source)
    async with asyncio.timeout(DEADLINE):
        while pids_of("6543"):
            await asyncio.sleep(0.05)


def pids_of(argument: str) -> list[int]:
    """Return the processes with an argument."""
    processes = psutil.process_iter(["cmdline"])
    return [process.pid for process in processes if argument in (process.info["cmdline"] or [])]


@pytest.mark.parametrize(
    ("lookup", "reason"),
    [("sleep 7654", r"hosts\.yml: reading took longer than 1 s"), ("kill -9 $PPID", "process .* has ended")],
    ids=["no end", "killed"],
)
async def test_a_query_that_is_not_answered_ends_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lookup: str, reason: str
) -> None:
    source = tmp_path / "hosts.yml"
    password = f"{{{{ lookup('ansible.builtin.pipe', '{lookup}') }}}}"
    write(source, hosts(obproxy_sys_password=password))
    known = await read(source)
    monkeypatch.setattr("service.inventory.snapshot.READ_TIMEOUT", 1.0)

    async with asyncio.timeout(DEADLINE):
        with pytest.raises(InventoryUnreadable, match=reason):
            await known.mask(known.clusters[1], known.hosts[2])
        while pids_of("7654"):
            await asyncio.sleep(0.05)


def test_the_process_with_the_inventory_survives_when_it_cannot_be_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that were forked from it before still need it; the requester of the new one gets an error."""

    def fork() -> int:
        raise BlockingIOError("too many processes")

    ours, theirs = multiprocessing.Pipe()
    unused, status = os.pipe(), os.pipe()
    with ours, theirs:
        ours.send_bytes(b"")
        for descriptor in (unused[1], status[1]):
            send_handle(ours, descriptor, None)
            os.close(descriptor)
        monkeypatch.setattr(os, "fork", fork)
        assert snapshot_process._fork(theirs, {})

    with pytest.raises(OSError, match="cannot be forked"):
        ForkedProcess(status[0])
    os.close(unused[0])


SCRIPT = """#!/bin/sh
[ -n "$SQL_SERVER" ] || { echo "SQL_SERVER is not set" >&2; exit 3; }
echo '{"test": {"hosts": ["b"], "vars": {"obproxy_cluster_id": 1, "server": "'$SQL_SERVER'"}},'
echo ' "_meta": {"hostvars": {"b": {"ocp_host_id": 2, "ocp_idc_name": "'$SQL_SERVER'"}}}}'
"""


async def test_scripts_get_the_named_variables_and_their_output_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "script.sh"
    source.write_text(SCRIPT, encoding="utf-8")
    source.chmod(0o700)
    monkeypatch.setenv("SQL_SERVER", "db-1")
    with pytest.raises(InventoryUnreadable, match=r"script\.sh: .*SQL_SERVER is not set"):
        await read(source)
    assert (await read(source, passed_on=environment.selected(["SQL_SERVER", "NOT_SET"]))).hosts[2].idc_name == "db-1"


async def test_output_of_a_vault_password_program_is_part_of_the_reason(tmp_path: Path) -> None:
    program = tmp_path / "password.sh"
    program.write_text("#!/bin/sh\necho the key server is down >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o700)
    source = tmp_path / "hosts.yml"
    write(source, hosts())
    with pytest.raises(InventoryUnreadable, match="the key server is down"):
        await read(source, program)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("hosts.yml", "all:\n  hosts: [\n", r"hosts\.yml"),
        ("hosts.ini", "[web]\n[x:bad]\n", r"hosts\.ini.*\[x:bad\] has unknown type"),
        ("group_vars/all.yml", "a: [\n", r"group_vars/all\.yml"),
        ("more.yml", "plugin: no_such_plugin\n", r"more\.yml.*no_such_plugin"),
    ],
)
async def test_a_broken_file_is_named_with_the_reason(tmp_path: Path, name: str, text: str, words: str) -> None:
    """Other files in the directory, and deprecation warnings, are not the reason."""
    write(tmp_path / "a.yml", hosts())
    (tmp_path / "LICENSE").write_text("GENERAL PUBLIC: it is [\n", encoding="utf-8")
    old_style = tmp_path / "deprecated.py"
    old_style.write_text(
        f"#!{sys.executable}\nprint('{{\"web\": [\"b\"]}}' if '--list' in __import__('sys').argv else '{{}}')\n"
    )
    old_style.chmod(0o700)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InventoryUnreadable, match=words) as refused:
        await read(tmp_path)
    assert "LICENSE" not in str(refused.value) and "eprecat" not in str(refused.value)


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "TAKEOVER_INVENTORY: .*there is no file or directory {path}"),
        ("all: [\n", "The inventory cannot be read: {path}"),
    ],
    ids=["missing", "broken"],
)
def test_the_service_does_not_start_on_an_unreadable_inventory(
    command: str, text: str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "hosts.yml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "service", command],
        env={**os.environ, "TAKEOVER_INVENTORY": str(path), "TAKEOVER_DATA_DIR": str(tmp_path / "data")},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 1
    assert re.search(words.format(path=path), done.stderr), done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "data" / "postgres").exists()


async def test_a_host_in_another_cluster_is_shown_as_its_run_will_see_it(tmp_path: Path) -> None:
    source = tmp_path / "hosts.yml"
    write(
        source,
        {
            "all": {
                "vars": {"obproxy_package_version": "all"},
                "hosts": {"b": {"ocp_host_id": 2}, "c": {"ocp_host_id": 3, "obproxy_package_version": "own"}},
                "children": {
                    "one": {"vars": {"obproxy_cluster_id": 1, "obproxy_package_version": "one"}, "hosts": {"b": {}}},
                    "two": {"vars": {"obproxy_cluster_id": 2, "obproxy_package_version": "two"}},
                },
            }
        },
    )
    found = await read(source)
    moved = await found.in_cluster(found.clusters[2], [found.hosts[3], found.hosts[2]])
    assert [(host.id, host.variables["obproxy_package_version"]) for host in moved] == [(3, "own"), (2, "two")]
    assert found.hosts[2].variables["obproxy_package_version"] == "one"
    assert await found.in_cluster(found.clusters[1], [found.hosts[2]]) == [found.hosts[2]]
