"""Rotation of the key that encrypts the secrets in the database. Every secret stays readable throughout."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.store.database import Connection, Database, execute, fetch
from service.store.database_errors import retry_contention
from service.store.keyring import Secrets, add_key, remove_old_keys


@dataclass(frozen=True, kw_only=True)
class Reencrypted:
    """Numbers of secrets: `total` in the database, `changed` were re-encrypted."""

    total: int
    changed: int


@retry_contention
async def rotate(database: Database, keyring: Secrets) -> Reencrypted:
    """Re-encrypt all secrets with a new key, in one transaction; raise DecryptionFailed when one cannot be read.

    A new key is put in front of the key file. Old keys stay in it, because other processes may still encrypt with them.
    Keys in the settings are not changed: all secrets are encrypted with the first one.
    """
    async with database.transaction() as connection:
        secrets = await _all(connection)
        for _, ciphertext in secrets:
            keyring.decrypt(ciphertext)
        if keyring.file is not None:
            add_key(keyring.file)
        return await _reencrypt(connection, keyring, secrets)


@retry_contention
async def retire_old_keys(database: Database, keyring: Secrets) -> tuple[Reencrypted, int]:
    """Re-encrypt secrets that are not encrypted with the first key, and remove the other keys from the key file.

    Return the numbers of secrets, and how many keys were removed. Raise DecryptionFailed; then no key is removed.
    """
    async with database.transaction() as connection:
        result = await _reencrypt(connection, keyring, await _all(connection))
    return result, remove_old_keys(keyring.file) if keyring.file is not None else 0


Ciphertexts = Sequence[tuple[str, bytes]]
"""The place of each secret (see the query `all_ciphertexts`) and its ciphertext."""


async def _all(connection: Connection) -> Ciphertexts:
    await execute(connection, "lock_secret_tables")
    return [(row["place"], row["ciphertext"]) for row in await fetch(connection, "all_ciphertexts")]


async def _reencrypt(connection: Connection, keyring: Secrets, secrets: Ciphertexts) -> Reencrypted:
    changed = [(place, new) for place, old in secrets if (new := keyring.reencrypt(old)) is not None]
    values = {"places": [place for place, _ in changed], "ciphertexts": [new for _, new in changed]}
    await execute(connection, "update_access_key_ciphertexts", **values)
    await execute(connection, "update_task_secret_ciphertexts", **values)
    return Reencrypted(total=len(secrets), changed=len(changed))
