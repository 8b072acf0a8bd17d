"""File access on a host: no file is opened that a third user can place there."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.obproxy.takeover.plugins.module_utils.host_programs import parse_result, program_text
from ansible_collections.obproxy.takeover.plugins.module_utils.programs import converge, files, users
from ansible_collections.obproxy.takeover.plugins.module_utils.programs.files import ParentDirectory, UntrustedPath

from .conftest import SOMEBODY

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody")


@as_root
def test_root_touches_nothing_below_another_user_s_directory(home: Path) -> None:
    (home / "conf").mkdir()
    (home / "conf" / "file").write_text("text")
    for path in (home / "file", home / "conf" / "file"):
        with pytest.raises(UntrustedPath, match="belongs to the user with number 65534"):
            files.text_at(str(path))
        with pytest.raises(UntrustedPath):
            ParentDirectory(str(path), 0o755)
    with pytest.raises(UntrustedPath):
        files.names_in(str(home))


@as_root
def test_a_link_to_another_user_s_directory_does_not_help(home: Path, tmp_path: Path) -> None:
    (home / "file").write_text("text")
    (tmp_path / "link").symlink_to(home)
    with pytest.raises(UntrustedPath):
        files.text_at(str(tmp_path / "link" / "file"))


@as_root
def test_a_link_of_root_s_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "file").write_text("text")
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "relative").symlink_to("../real/deep")
    assert files.text_at(str(tmp_path / "absolute" / "relative" / "file")) == "text"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        files.text_at(str(tmp_path / "loop" / "file"))


@as_root
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_directory_that_others_can_write_to_is_not_used(tmp_path: Path, mode: int) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    (shared / "file").write_text("text")
    with pytest.raises(UntrustedPath, match="can write to it"):
        files.text_at(str(shared / "file"))


@as_root
def test_in_a_shared_directory_only_root_s_own_directories_are_passed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "mine").mkdir(parents=True)
    shared.chmod(0o1777)
    (shared / "mine" / "file").write_text("text")
    assert files.text_at(str(shared / "mine" / "file")) == "text"
    (shared / "link").symlink_to("mine")
    with pytest.raises(UntrustedPath):
        files.text_at(str(shared / "link" / "file"))
    os.chown(shared / "mine", SOMEBODY["uid"], -1)
    with pytest.raises(UntrustedPath):
        files.text_at(str(shared / "mine" / "file"))


def test_other_than_regular_files_are_rejected_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/shadow")
    (tmp_path / "directory").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    begun = time.monotonic()
    for name in ("pipe", "link", "directory", "device"):
        with pytest.raises(UntrustedPath, match=r"no regular file|a symbolic link"):
            files.text_at(str(tmp_path / name))
    assert time.monotonic() - begun < 5


def test_a_huge_file_is_rejected(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**33)
    with pytest.raises(UntrustedPath, match="longer than 1024 KiB"):
        files.text_at(str(tmp_path / "huge"))


def test_a_failed_write_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise users.ProgramTimeout("it did not end within 1 s")

    (tmp_path / "file").write_text("former")
    monkeypatch.setattr(os, "fsync", fail)
    with ParentDirectory(str(tmp_path / "file")) as place, pytest.raises(users.ProgramTimeout):
        place.write("new", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "former"


@as_root
def test_work_as_a_user_is_that_user_s_for_good(home: Path) -> None:
    def rights() -> list[int]:
        with pytest.raises(OSError):
            os.setuid(0)
        (home / "made").write_text("")
        return [*os.getresuid(), *os.getresgid(), *os.getgroups()]

    assert set(users.run_as(SOMEBODY, rights)) == {65534}
    assert (home / "made").stat().st_uid == SOMEBODY["uid"]
    assert os.geteuid() == 0


@as_root
def test_work_as_a_user_has_its_time_and_its_reason() -> None:
    with pytest.raises(UntrustedPath, match="did not end within 1 s"):
        users.run_as(SOMEBODY, time.sleep, 60, seconds=1)
    with pytest.raises(UntrustedPath, match="Permission denied"):
        users.run_as(SOMEBODY, files.text_at, "/root/x")


def test_root_never_acts_for_a_user() -> None:
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    with pytest.raises(UntrustedPath, match="is root"):
        users.user_named("root")
    with pytest.raises(UntrustedPath, match="there is no user"):
        users.user_named("no-such-user")
    with pytest.raises(UntrustedPath, match="has ended"):
        users.user_of({"pid": os.getpid(), "started": ticks + 1})
    if os.geteuid() == 0:
        with pytest.raises(UntrustedPath, match="root privileges"):
            users.user_of({"pid": os.getpid(), "started": ticks})


@as_root
def test_a_program_that_a_third_user_can_change_is_not_run(home: Path, tmp_path: Path) -> None:
    (home / "script").write_text("#!/bin/sh\n")
    (home / "script").chmod(0o755)
    (tmp_path / "link").symlink_to(home / "script")
    for path in (home / "script", tmp_path / "link"):
        with pytest.raises(UntrustedPath):
            files.program_at(str(path))
    assert files.program_at("/bin/sh") == os.path.realpath("/bin/sh")
    (tmp_path / "data").write_text("")
    with pytest.raises(UntrustedPath, match="cannot be executed"):
        files.program_at(str(tmp_path / "data"))


def test_a_program_at_its_time_limit_restores_its_changes(tmp_path: Path) -> None:
    """It has written the new text, and its command never ends."""
    (tmp_path / "file").write_text("former")
    file = {"path": str(tmp_path / "file"), "text": "new", "mode": "0600", "replace": True, "directory_mode": "0755"}
    wanted = {"files": [file | {"keep": False, "signature": ""}], "check": False, "as_user": None, "process": None}
    text = program_text("converge", wanted | {"commands": [["sleep", "60"]], "prune": [], "seconds": 30})
    early = text.replace(b"\nimport binascii", b"\nset_program_timeout_of = set_program_timeout\n"
        b"def set_program_timeout(seconds):\n    set_program_timeout_of(1)\n\nimport binascii")  # fmt: skip
    ended = subprocess.run([sys.executable, "-IS", "-"], input=early, capture_output=True, timeout=60, check=True)
    answer = parse_result(ended.stdout.decode())
    assert (answer["problem"], answer["half_done"]) == ("it did not end within 1 s", "")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "former"


def test_unrestored_files_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")

    usual = {"mode": "0600", "replace": True, "directory_mode": "0755", "keep": False, "signature": ""}
    file = usual | {"path": str(tmp_path / "file"), "text": "new"}
    monkeypatch.setattr(converge.Change, "rewrite", fail)
    with pytest.raises(converge.Problem) as raised:
        converge.converge(
            {"files": [file], "check": False, "as_user": None, "process": None, "commands": [["false"]], "prune": []}
            | {"seconds": 5}
        )
    assert raised.value.half_done == f"{tmp_path / 'file'} could not be restored: No space left on device"
