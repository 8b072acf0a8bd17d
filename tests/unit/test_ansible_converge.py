"""Files on a host are brought to their desired text: atomic, idempotent, honest in check mode, restored on failure."""

import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.programs import converge as converging
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.converge import (
    BACKUP,
    PENDING_COMMANDS,
    Problem,
    converge,
)
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.files import TEMPORARY, UntrustedPath


def _wanted(path: Path, text: str | None, **options: Any) -> dict[str, Any]:
    usual = {"mode": "0640", "replace": True, "directory_mode": "0755", "keep": False, "signature": ""}
    file = usual | {key: value for key, value in options.items() if key in usual} | {"path": str(path), "text": text}
    rest: dict[str, Any] = {"check": False, "as_user": None, "commands": [], "process": None, "seconds": 5}
    rest["prune"] = []
    return rest | {key: value for key, value in options.items() if key in rest} | {"files": [file]}


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_writes_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert converge(_wanted(path, "a\n"))["changed"] == [{"path": str(path), "before": None, "after": "a\n"}]
    assert path.read_text() == "a\n" and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert converge(_wanted(path, "a\n"))["changed"] == []
    assert _names(path.parent) == ["file"]


def test_a_wrong_mode_counts(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("a")
    path.chmod(0o666)
    assert len(converge(_wanted(path, "a"))["changed"]) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_temporary_files_of_killed_runs_in_a_user_s_directory_are_removed_before_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converging, "become", lambda _user: None)
    monkeypatch.setattr(converging, "acting_user", lambda _wanted: {})
    path, ended = tmp_path / "file", 2**22  # more than the kernel's highest pid
    kept = [f"{TEMPORARY}{os.getppid()}-file", f"{TEMPORARY}{ended}-other", f"{TEMPORARY}²-file", f"{TEMPORARY}file"]
    for name in [*kept, f"{TEMPORARY}{ended}-file"]:
        (tmp_path / name).touch()
    converge(_wanted(path, "a", check=True))
    assert len(_names(tmp_path)) == len(kept) + 1
    test = ["sh", "-c", f"! ls -A {tmp_path} | grep -q {ended}-file"]
    converge(_wanted(path, "a", commands=[test]))
    assert _names(tmp_path) == sorted([*kept, "file"])
    (tmp_path / f"{TEMPORARY}{ended}-file").mkdir()
    assert converge(_wanted(path, "a"))["changed"] == []


def test_protected_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("first")
    assert converge(_wanted(path, "second", replace=False))["changed"] == []
    assert path.read_text() == "first"


def test_check_mode_only_reports(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert len(converge(_wanted(path, "a", check=True))["changed"]) == 1
    assert _names(tmp_path) == []


def test_removes_and_prunes(tmp_path: Path) -> None:
    path = tmp_path / "own" / "file"
    converge(_wanted(path, "a"))
    assert converge(_wanted(path, None, prune=[str(path.parent)]))["changed"][0]["before"] == "a"
    assert _names(tmp_path) == []
    assert converge(_wanted(path, None, prune=[str(path.parent)]))["changed"] == []


def test_pruning_spares_others_files(tmp_path: Path) -> None:
    path = tmp_path / "own" / "file"
    converge(_wanted(path, "a"))
    (tmp_path / "own" / "other").touch()
    converge(_wanted(path, None, prune=[str(path.parent)]))
    assert _names(tmp_path / "own") == ["other"]


def test_a_kept_file_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("theirs")
    converge(_wanted(path, "ours", keep=True))
    converge(_wanted(path, "ours, newer", keep=True))
    assert (tmp_path / f"agent.yaml{BACKUP}").read_text() == "theirs"
    converge(_wanted(path, None, keep=True))
    assert path.read_text() == "theirs" and _names(tmp_path) == ["agent.yaml"]


def test_a_file_without_the_signature_is_foreign(tmp_path: Path) -> None:
    path, signed = tmp_path / "agent.yaml", {"keep": True, "signature": "# ours"}
    path.write_text("theirs")
    assert converge(_wanted(path, None, **signed))["changed"] == []
    path.write_text("# ours, of an earlier takeover")
    converge(_wanted(path, "# ours, newer", **signed))
    assert _names(tmp_path) == ["agent.yaml"]
    converge(_wanted(path, None, **signed))
    assert _names(tmp_path) == []


def test_a_rejected_change_keeps_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("theirs")
    path.chmod(0o600)
    before = path.stat()
    with pytest.raises(Problem):
        converge(_wanted(path, "ours", keep=True, commands=[["false"]]))
    assert (path.stat().st_ino, path.stat().st_mode) == (before.st_ino, before.st_mode)
    assert _names(tmp_path) == ["agent.yaml"]


def test_check_mode_reports_directories_to_remove(tmp_path: Path) -> None:
    path = tmp_path / "own" / "deep" / "file"
    converge(_wanted(path, "a"))
    prune = [str(tmp_path / "own"), str(path.parent)]
    checked = converge(_wanted(path, None, prune=prune, check=True))["changed"]
    assert path.exists() and len(checked) == 3
    assert converge(_wanted(path, None, prune=prune))["changed"] == checked
    assert _names(tmp_path) == []


def test_a_link_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("secret")
    (tmp_path / "file").symlink_to(tmp_path / "target")
    with pytest.raises(UntrustedPath):
        converge(_wanted(tmp_path / "file", "a"))
    assert (tmp_path / "target").read_text() == "secret"


def test_commands_run_only_after_a_change(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = ["sh", "-c", f"echo x >> {log}"]
    converge(_wanted(tmp_path / "file", "a", commands=[command, command]))
    converge(_wanted(tmp_path / "file", "a", commands=[command]))
    assert log.read_text() == "x\nx\n"


@pytest.mark.parametrize("wanted", ["ours", None])
def test_commands_that_a_killed_run_owes(tmp_path: Path, wanted: str | None) -> None:
    path, log = tmp_path / "file", tmp_path / "log"
    command = ["sh", "-c", f"test -e {path}{PENDING_COMMANDS} && echo x >> {log}"]
    if wanted is not None:
        path.write_text(wanted)
        path.chmod(0o640)
    (tmp_path / f"file{PENDING_COMMANDS}").touch()
    assert len(converge(_wanted(path, wanted, commands=[command], check=True))["changed"]) == 1
    assert len(converge(_wanted(path, wanted, commands=[command]))["changed"]) == 1
    assert converge(_wanted(path, wanted, commands=[command]))["changed"] == []
    assert log.read_text() == "x\n" and not (tmp_path / f"file{PENDING_COMMANDS}").exists()


def test_only_a_killed_run_owes_its_commands(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(Problem):
        converge(_wanted(path, "ours", commands=[["false"]]))
    assert _names(tmp_path) == []
    (tmp_path / f"file{PENDING_COMMANDS}").touch()
    with pytest.raises(Problem):
        converge(_wanted(path, "ours", commands=[["false"]]))
    assert _names(tmp_path) == [f"file{PENDING_COMMANDS}"]


@pytest.mark.parametrize("before", [None, "former"])
def test_a_failing_command_brings_the_former_text_back(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_text(before)
    with pytest.raises(Problem, match="ended with 3: no such module"):
        converge(_wanted(path, "new", commands=[["sh", "-c", "echo no such module; exit 3"]]))
    assert (path.read_text() if path.exists() else None) == before


def test_a_hanging_command_is_ended(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="did not end within its time limit"):
        converge(_wanted(tmp_path / "file", "new", seconds=1, commands=[["sleep", "60"]]))
    assert _names(tmp_path) == []


def test_a_command_may_leave_a_process_that_keeps_its_output_open(tmp_path: Path) -> None:
    agent = ["sh", "-c", f"sleep 60 & echo $! >{tmp_path}/pid"]
    try:
        assert converge(_wanted(tmp_path / "file", "new", commands=[agent]))["changed"]
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert (tmp_path / "file").read_text() == "new"


def test_a_failing_command_may_print_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(Problem, match=r"ended with 1: \ufffd+.* is invalid\nwhy"):
        command = ["sh", "-c", r"printf '\273\266\323\255 is invalid\n'; echo why >&2; exit 1"]
        converge(_wanted(tmp_path / "file", "new", commands=[command]))
    assert (tmp_path / "file").read_text() == "old"


def test_the_process_must_still_be_the_one() -> None:
    start_time = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    me = {"pid": os.getpid(), "started": start_time}
    assert converge(_wanted(Path("/none"), None, process=me)) == {"changed": []}
    with pytest.raises(Problem, match="has ended"):
        converge(_wanted(Path("/none"), None, process=me | {"started": 1}))


def test_check_mode_reports_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    (tmp_path / "file").write_text("")
    for name in ("dangling", "file"):
        with pytest.raises(Problem):
            converge(_wanted(tmp_path / name / "below" / "a", "text", check=True))
    assert converge(_wanted(tmp_path / "new" / "below" / "a", "text", check=True))["changed"]
