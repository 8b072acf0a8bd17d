"""Access keys: with the secret of one its user signs requests. OCP's rules: docs/reference/ocp-api.md 5.1."""

import secrets
import string
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from service.access.errors import TooManyAccessKeys, UnknownAccessKey, UnknownUser
from service.access.request_signatures import Proof
from service.access.users import User, from_row
from service.store.database import Database, execute, fetch, fetch_as
from service.store.database_errors import retry_contention
from service.store.keyring import Secrets

MOST_KEYS = 5  # of one user, disabled ones included
ALPHANUMERIC = string.ascii_letters + string.digits


@dataclass(frozen=True, kw_only=True)
class AccessKey:
    """An access key as it is listed, without its secret."""

    id: str
    user_name: str
    enabled: bool
    create_time: datetime


@retry_contention
async def create(database: Database, vault: Secrets, user_name: str) -> tuple[str, SecretStr]:
    """A new key of a user and its secret, which is never shown again; raises UnknownUser, TooManyAccessKeys."""
    key = "".join(secrets.choice(ALPHANUMERIC) for _ in range(16))
    secret = SecretStr(secrets.token_hex(16))
    async with database.transaction() as connection:
        user = await fetch(connection, "lock_user", name=user_name)
        if not user:
            raise UnknownUser(name=user_name)
        user_id = user[0]["id"]
        [count] = await fetch(connection, "count_access_keys", user_id=user_id)
        if count["total"] >= MOST_KEYS:
            raise TooManyAccessKeys(name=user_name, limit=MOST_KEYS)
        ciphertext = vault.encrypt(secret)
        await execute(connection, "insert_access_key", id=key, user_id=user_id, ciphertext=ciphertext)
    return key, secret


@retry_contention
async def set_enabled(database: Database, key: str, *, enabled: bool) -> None:
    """Whether requests signed with a key are let through; raises UnknownAccessKey."""
    async with database.transaction() as connection:
        if not await fetch(connection, "set_access_key_enabled", id=key, enabled=enabled):
            raise UnknownAccessKey(key=key)


async def everyones(database: Database) -> list[AccessKey]:
    """All access keys, user by user."""
    async with database.transaction() as connection:
        return await fetch_as(connection, AccessKey, "access_keys")


async def find(database: Database, vault: Secrets, key: str) -> tuple[User, SecretStr] | None:
    """Whose a key is, and its secret; None when there is none, or it or its user is disabled."""
    async with database.single() as connection:
        rows = await fetch(connection, "enabled_access_key", id=key)
    return (from_row(rows[0]), vault.decrypt(rows[0]["ciphertext"])) if rows else None


@retry_contention
async def use(database: Database, key: str, proof: Proof) -> bool:
    """Whether a signature is seen for the first time; from then on it is known until it is too old anyway."""
    async with database.transaction() as connection:
        values = {"id": key, "digest": proof.digest, "expires": proof.expires}
        return bool(await fetch(connection, "insert_used_signature", **values))
