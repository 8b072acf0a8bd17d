"""Another key for the secrets in the database, without a moment in which one of them cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.store.database import Connection, Database, execute, fetch
from service.store.database_errors import retry_contention
from service.store.keyring import Secrets, add_key, drop_keys


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """How many secrets there are, and how many of them were encrypted anew."""

    total: int
    renewed: int


@retry_contention
async def rotate(database: Database, vault: Secrets) -> Renewed:
    """Encrypt everything with a new key, all or nothing; raises DecryptionFailed when some secret cannot be read.

    A key in a file is made and put before the others, which stay, since a process may still write with them. Keys in
    the settings are whoever's who has set them: everything is encrypted with the first.
    """
    async with database.transaction() as connection:
        secrets = await _all(connection)
        for _, ciphertext in secrets:
            vault.decrypt(ciphertext)
        if vault.file is not None:
            add_key(vault.file)
        return await _renew(connection, vault, secrets)


@retry_contention
async def retire(database: Database, vault: Secrets) -> tuple[Renewed, int]:
    """Encrypt with the first key what was written with another since, and forget the others; how many those were.

    Raises DecryptionFailed; then nothing is forgotten.
    """
    async with database.transaction() as connection:
        renewed = await _renew(connection, vault, await _all(connection))
    return renewed, drop_keys(vault.file) if vault.file is not None else 0


Found = Sequence[tuple[str, bytes]]  # where a secret is, and its ciphertext


async def _all(connection: Connection) -> Found:
    await execute(connection, "lock_secret_tables")
    return [(row["place"], row["ciphertext"]) for row in await fetch(connection, "all_ciphertexts")]


async def _renew(connection: Connection, vault: Secrets, secrets: Found) -> Renewed:
    anew = [(place, new) for place, old in secrets if (new := vault.renew(old)) is not None]
    values = {"places": [place for place, _ in anew], "ciphertexts": [new for _, new in anew]}
    await execute(connection, "update_access_key_ciphertexts", **values)
    await execute(connection, "update_task_secret_ciphertexts", **values)
    return Renewed(total=len(secrets), renewed=len(anew))
