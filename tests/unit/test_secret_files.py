"""Files of secrets: complete or absent, the same for processes that start at once, and checked when they are read."""

import multiprocessing
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from service.cli.connection import read_secret
from service.cli.errors import ClientError
from service.model.errors import StartFailed
from service.store import keyring, secret_files

ROUNDS = 40
DEADLINE = 60.0  # seconds for all rounds
FILES = [keyring.KEY_FILE, keyring.ADMIN_PASSWORD]
BAD_KEYS = [b"", b"\n \n", b"short", Fernet.generate_key()[:-1], b"\xff\xfe\x00", Fernet.generate_key() + b" half"]

Start = Callable[[Path], object]
_spawn = multiprocessing.get_context("spawn")


def _first_start(directory: Path) -> tuple[str, str]:
    (key,) = keyring.load(SecretStr(""), directory).fingerprints("text")
    return key.hex(), keyring.admin_password(directory)[1]


def _starts(directory: Path, barrier: Barrier, found: "Queue[list[tuple[str, str]]]") -> None:
    secrets = []
    for number in range(ROUNDS):
        barrier.wait(DEADLINE)
        secrets.append(_first_start(directory / str(number)))
    found.put(secrets)


def test_processes_that_start_at_once_use_the_same_files(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        (tmp_path / str(number)).mkdir()
    barrier, found = _spawn.Barrier(2), _spawn.Queue()
    processes = [_spawn.Process(target=_starts, args=(tmp_path, barrier, found)) for _ in range(2)]
    for process in processes:
        process.start()

    one, other = (found.get(timeout=DEADLINE) for _ in processes)

    for process in processes:
        process.join(DEADLINE)
    assert one == other
    assert one == [_first_start(tmp_path / str(number)) for number in range(ROUNDS)], "and the next start does"
    for number in range(ROUNDS):
        assert sorted(path.name for path in (tmp_path / str(number)).iterdir()) == sorted(FILES)


@pytest.fixture(params=["file size limit", "tmpfs"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Yield a directory on a full disk: files can be created but not written."""
    if request.param == "file size limit":
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            yield tmp_path
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return
    command = ["mount", "-t", "tmpfs", "-o", f"size={os.sysconf('SC_PAGESIZE')}", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a file system")
    try:
        (tmp_path / "filler").write_bytes(b"x")
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("name", FILES)
def test_a_first_start_on_a_full_disk_leaves_no_file(full: Path, name: str) -> None:
    def start() -> object:
        return keyring.load(SecretStr(""), full) if name == keyring.KEY_FILE else keyring.admin_password(full)

    with pytest.raises(StartFailed, match=f"{full / name} cannot be written: .+ Make room"):
        start()

    assert {path.name for path in full.iterdir()} <= {"filler"}


def test_an_exchange_on_a_full_disk_keeps_the_former_keys(tmp_path: Path) -> None:
    before = keyring.load(SecretStr(""), tmp_path).encrypt(SecretStr("Needle#1"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(StartFailed, match="secret-key cannot be written"):
            keyring.add_key(tmp_path / keyring.KEY_FILE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert keyring.load(SecretStr(""), tmp_path).decrypt(before) == SecretStr("Needle#1")
    assert [path.name for path in tmp_path.iterdir()] == [keyring.KEY_FILE]


@pytest.mark.parametrize("content", BAD_KEYS, ids=range(len(BAD_KEYS)))  # a random key in an id differs by worker
@pytest.mark.parametrize("start", [lambda path: keyring.load(SecretStr(""), path.parent), keyring.remove_old_keys])
def test_a_key_file_without_keys_is_rejected_and_stays_as_it_is(tmp_path: Path, content: bytes, start: Start) -> None:
    file = tmp_path / keyring.KEY_FILE
    file.write_bytes(content)

    with pytest.raises(StartFailed) as rejected:
        start(file)

    assert str(file) in str(rejected.value) and "Restore the file from a backup" in str(rejected.value)
    assert len(content) < 5 or content[:5].decode(errors="replace") not in str(rejected.value)
    assert file.read_bytes() == content


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / keyring.KEY_FILE).mkdir()

    with pytest.raises(StartFailed, match="secret-key cannot be read: Is a directory"):
        keyring.load(SecretStr(""), tmp_path)


def test_a_running_process_keeps_its_keys_when_the_file_becomes_bad(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = keyring.load(SecretStr(""), tmp_path)
    before = running.encrypt(SecretStr("Needle#1"))

    (tmp_path / keyring.KEY_FILE).write_text("")

    assert running.decrypt(before) == SecretStr("Needle#1")
    assert "secret-key is empty" in caplog.text


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_command_names_the_password_file_that_holds_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)

    with pytest.raises(ClientError, match=f"The password cannot be read: {file} "):
        read_secret(file, "password")


def test_a_file_that_exists_is_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file"
    target = tmp_path / "target"
    file.symlink_to(target)

    assert not secret_files.write_new(file, "secret")

    assert file.is_symlink() and not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
