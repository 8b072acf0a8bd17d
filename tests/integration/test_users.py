"""Users and access keys: what the commands write and reject, and how the first user is created."""

import asyncio
import multiprocessing
import stat
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.access import access_keys, users
from service.access.errors import TooManyAccessKeys, UnknownAccessKey, UnknownUser, UserExists, UserInvalid
from service.access.passwords import PasswordVerifier
from service.access.roles import Role
from service.model.errors import StartFailed
from service.store.database import Database, fetch, open_database
from service.tasks.resources import Resources

VIEWER = [Role.TASK_VIEWER]
DEADLINE = 60.0  # seconds for two processes to start


async def test_the_first_start_makes_the_administrator(resources: Resources, tmp_path: Path) -> None:
    await users.ensure_admin(resources.database, tmp_path)
    file = tmp_path / "admin-password"
    password = file.read_text()

    await users.ensure_admin(resources.database, tmp_path)

    admin = await users.find(resources.database, "admin")
    assert admin
    assert (admin.id, admin.roles, admin.enabled) == (100, (Role.ADMIN,), True)
    assert admin.password_hash.startswith("$argon2id$")
    assert password.strip() not in repr(admin) + str(admin.password_hash)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(password) > 20
    assert file.read_text() == password


async def test_of_several_first_starts_one_makes_it_and_the_others_leave_no_file(
    resources: Resources, tmp_path: Path
) -> None:
    directories = [tmp_path / str(number) for number in range(5)]
    for directory in directories:
        directory.mkdir()

    await asyncio.gather(*(users.ensure_admin(resources.database, directory) for directory in directories))

    assert len(list(tmp_path.glob("*/admin-password"))) == 1
    assert len(await users.list_all(resources.database)) == 1


def _first_start(url: str, directory: Path, barrier: Barrier) -> None:
    async def start() -> None:
        async with open_database(url) as database:
            barrier.wait(DEADLINE)
            await users.ensure_admin(database, directory)

    asyncio.run(start())


async def test_processes_that_share_the_data_directory_agree_on_the_password(
    resources: Resources, tmp_path: Path
) -> None:
    spawn = multiprocessing.get_context("spawn")
    url, barrier = resources.settings.database_url.get_secret_value(), spawn.Barrier(2)
    processes = [spawn.Process(target=_first_start, args=(url, tmp_path, barrier)) for _ in range(2)]
    for process in processes:
        process.start()

    for process in processes:
        await asyncio.to_thread(process.join, DEADLINE)

    assert [process.exitcode for process in processes] == [0, 0]
    admin = await users.find(resources.database, "admin")
    password = (tmp_path / "admin-password").read_bytes().strip()
    assert admin and await PasswordVerifier().verify(password, admin.password_hash)


async def test_a_process_that_was_second_keeps_the_password_that_is_right(
    resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = users.find

    async def overtaken(database: Database, name: str) -> users.User | None:
        monkeypatch.setattr(users, "find", find)
        await users.ensure_admin(database, tmp_path)
        return None

    monkeypatch.setattr(users, "find", overtaken)
    await users.ensure_admin(resources.database, tmp_path)

    admin = await find(resources.database, "admin")
    password = (tmp_path / "admin-password").read_bytes().strip()
    assert admin and await PasswordVerifier().verify(password, admin.password_hash)


@pytest.mark.parametrize("content", ["", "\n", "1234567\n", "two\nlines of it\n", "x" * 129])
async def test_a_first_password_that_is_none_stops_the_start(
    resources: Resources, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "admin-password"
    file.write_text(content)

    with pytest.raises(StartFailed) as rejected:
        await users.ensure_admin(resources.database, tmp_path)

    assert str(rejected.value) == (
        f"{file} must have a password of 8 to 128 printable characters. Remove the file; the service writes a new one."
    )
    assert await users.find(resources.database, "admin") is None
    assert file.read_text() == content


async def test_an_existing_administrator_gets_no_new_password(resources: Resources, tmp_path: Path) -> None:
    await users.ensure_admin(resources.database, tmp_path)
    (tmp_path / "admin-password").unlink()

    await users.ensure_admin(resources.database, tmp_path)

    assert list(tmp_path.glob("admin-password")) == []


async def test_a_user_is_added_changed_and_disabled(resources: Resources) -> None:
    await users.add(resources.database, "anne", "long enough", [Role.OBPROXY_MANAGER, Role.TASK_VIEWER])
    before = await users.find(resources.database, "anne")
    await users.set_password(resources.database, "anne", "another one")
    await users.set_enabled(resources.database, "anne", enabled=False)
    after = await users.find(resources.database, "anne")

    assert before and after
    assert before.id > 200
    assert before.roles == after.roles == (Role.OBPROXY_MANAGER, Role.TASK_VIEWER)
    assert before.password_hash != after.password_hash
    assert (before.enabled, after.enabled) == (True, False)
    await users.set_enabled(resources.database, "anne", enabled=True)
    assert [user.enabled for user in await users.list_all(resources.database)] == [True]


@pytest.mark.parametrize("name", ["", "1a", "a b", "a:b", "é", "a" * 65, "a\n", "a\0", "-a", "a/b"])
async def test_names_that_are_none(resources: Resources, name: str) -> None:
    with pytest.raises(UserInvalid, match="must be a letter, then"):
        await users.add(resources.database, name, "long enough", VIEWER)


@pytest.mark.parametrize("password", ["", "1234567", "1234567\n", "x" * 129, "\0" * 10])
async def test_passwords_that_are_none(resources: Resources, password: str) -> None:
    with pytest.raises(UserInvalid, match="the password must have 8 to 128") as refusal:
        await users.add(resources.database, "anne", password, VIEWER)
    assert not password or password not in str(refusal.value)


async def test_existing_and_missing_users_are_rejected(resources: Resources) -> None:
    await users.add(resources.database, "anne", "long enough", VIEWER)

    with pytest.raises(UserExists, match="User anne already exists"):
        await users.add(resources.database, "anne", "long enough", VIEWER)
    with pytest.raises(UserInvalid, match="must have at least one role"):
        await users.add(resources.database, "bob", "long enough", [])
    with pytest.raises(UnknownUser, match="User bob does not exist"):
        await users.set_password(resources.database, "bob", "long enough")
    with pytest.raises(UnknownUser):
        await users.set_enabled(resources.database, "bob", enabled=False)
    with pytest.raises(UnknownUser):
        await access_keys.create(resources.database, resources.secrets, "bob")
    with pytest.raises(UnknownAccessKey):
        await access_keys.set_enabled(resources.database, "0" * 16, enabled=False)


async def test_an_access_key_is_found_while_it_and_its_user_are_enabled(resources: Resources) -> None:
    await users.add(resources.database, "anne", "long enough", VIEWER)
    key, secret = await access_keys.create(resources.database, resources.secrets, "anne")

    async def found() -> tuple[str, SecretStr] | None:
        known = await access_keys.find_enabled(resources.database, resources.secrets, key)
        return (known[0].name, known[1]) if known else None

    assert len(key) == 16 and key.isalnum()
    assert len(bytes.fromhex(secret.get_secret_value())) == 16
    assert await found() == ("anne", secret)
    await access_keys.set_enabled(resources.database, key, enabled=False)
    assert await found() is None
    await access_keys.set_enabled(resources.database, key, enabled=True)
    await users.set_enabled(resources.database, "anne", enabled=False)
    assert await found() is None
    assert await access_keys.find_enabled(resources.database, resources.secrets, "0" * 16) is None


async def test_its_secret_is_encrypted_and_not_listed(resources: Resources) -> None:
    await users.add(resources.database, "anne", "long enough", VIEWER)
    key, secret = await access_keys.create(resources.database, resources.secrets, "anne")

    async with resources.database.transaction() as connection:
        [row] = await fetch(connection, "enabled_access_key", id=key)
    assert secret.get_secret_value().encode() not in row["ciphertext"]
    assert secret.get_secret_value() not in repr(await access_keys.list_all(resources.database)) + repr(secret)


async def test_a_user_has_at_most_five_keys_under_concurrency(resources: Resources) -> None:
    await users.add(resources.database, "anne", "long enough", VIEWER)

    made = await asyncio.gather(
        *(access_keys.create(resources.database, resources.secrets, "anne") for _ in range(8)), return_exceptions=True
    )

    refused = [result for result in made if isinstance(result, BaseException)]
    assert [type(error) for error in refused] == [TooManyAccessKeys] * 3
    assert len(await access_keys.list_all(resources.database)) == 5
