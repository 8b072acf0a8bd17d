"""Rotation of the encryption key: all secrets or none, while other processes read and write."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from typer.testing import CliRunner

from service.access import access_keys, key_rotation, users
from service.access.key_rotation import Reencrypted
from service.access.roles import Role
from service.access.users import User
from service.cli.main import main
from service.model.errors import DecryptionFailed
from service.store.database import Database, execute, fetch
from service.store.keyring import Secrets
from service.tasks import submit
from service.tasks.resources import Resources
from service.tasks.submit import HostRequest

ANNE = User(id=201, name="anne", roles=(Role.ADMIN,))
NEEDLE = SecretStr("Needle#1")


async def ciphertexts(resources: Resources) -> list[bytes]:
    async with resources.database.transaction() as connection:
        return [row["ciphertext"] for row in await fetch(connection, "all_ciphertexts")]


async def planted(resources: Resources) -> tuple[str, SecretStr]:
    """Insert a secret into each table with secrets; return id and secret of the access key."""
    await users.add(resources.database, "anne", "long enough", [Role.ADMIN])
    asked = [HostRequest(host_id=1, sql_port=2883, password=NEEDLE)]
    await submit.take_over(resources, 1, asked, creator=ANNE, trace_id="", idempotency_key="once")
    return await access_keys.create(resources.database, resources.secrets, "anne")


async def test_rotating_encrypts_everything_again_and_retiring_deletes_the_former_key(resources: Resources) -> None:
    key, secret = await planted(resources)
    file = resources.settings.data_dir / "secret-key"
    former, before = file.read_text().strip(), await ciphertexts(resources)

    assert await key_rotation.rotate(resources.database, resources.secrets) == Reencrypted(total=2, changed=2)

    after = await ciphertexts(resources)
    new, *others = file.read_text().split()
    assert others == [former] and not set(before) & set(after)
    assert sorted(Secrets(SecretStr(new)).decrypt(text).get_secret_value() for text in after) == sorted(
        [NEEDLE.get_secret_value(), secret.get_secret_value()]
    )
    found = await access_keys.find_enabled(resources.database, resources.secrets, key)
    assert found and found[1] == secret
    result = await key_rotation.retire_old_keys(resources.database, resources.secrets)
    assert result == (Reencrypted(total=2, changed=0), 1)
    assert file.read_text().split() == [new]


async def test_values_of_the_former_key_are_readable_and_renewed_when_it_is_retired(
    resources: Resources,
) -> None:
    await planted(resources)
    slow = Secrets(SecretStr((resources.settings.data_dir / "secret-key").read_text()))
    await key_rotation.rotate(resources.database, resources.secrets)

    key, secret = await access_keys.create(resources.database, slow, "anne")

    found = await access_keys.find_enabled(resources.database, resources.secrets, key)
    assert found and found[1] == secret
    numbers, _ = await key_rotation.retire_old_keys(resources.database, resources.secrets)
    assert numbers == Reencrypted(total=3, changed=1)
    assert await access_keys.find_enabled(resources.database, resources.secrets, key)


@pytest.mark.parametrize("verb", [key_rotation.rotate, key_rotation.retire_old_keys])
async def test_a_secret_that_no_key_opens_stops_it_before_anything_changes(
    resources: Resources, verb: Callable[[Database, Secrets], Awaitable[object]]
) -> None:
    await planted(resources)
    lost = Secrets(SecretStr(Fernet.generate_key().decode())).encrypt(NEEDLE)
    async with resources.database.transaction() as connection:
        places = ["task_secret 1 obproxy_current_sys_password"]
        await execute(connection, "update_task_secret_ciphertexts", places=places, ciphertexts=[lost])
    before, keys = await ciphertexts(resources), (resources.settings.data_dir / "secret-key").read_text()

    with pytest.raises(DecryptionFailed):
        await verb(resources.database, resources.secrets)

    assert await ciphertexts(resources) == before
    assert (resources.settings.data_dir / "secret-key").read_text() == keys


async def test_an_idempotent_request_is_recognised_after_a_key_rotation(resources: Resources) -> None:
    await planted(resources)
    await key_rotation.rotate(resources.database, resources.secrets)

    asked = [HostRequest(host_id=1, sql_port=2883, password=NEEDLE)]
    again = await submit.take_over(resources, 1, asked, creator=ANNE, trace_id="", idempotency_key="once")

    assert len(again) == 1


async def test_the_commands_print_counts_and_no_key(
    resources: Resources, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await planted(resources)
    caplog.set_level(logging.DEBUG)
    said = {word: await _run(resources, monkeypatch, "key", word) for word in ("rotate", "retire")}

    assert "2 of 2 secrets" in said["rotate"] and str(resources.settings.data_dir / "secret-key") in said["rotate"]
    assert "0 of 2 secrets" in said["retire"] and "removed" in said["retire"]
    for key in (resources.settings.data_dir / "secret-key").read_text().split():
        assert key not in json.dumps(said) + caplog.text


async def _run(resources: Resources, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setenv("TAKEOVER_DATABASE_URL", resources.settings.database_url.get_secret_value())
    monkeypatch.setenv("TAKEOVER_DATA_DIR", str(resources.settings.data_dir))
    done = await asyncio.to_thread(CliRunner().invoke, main, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output
