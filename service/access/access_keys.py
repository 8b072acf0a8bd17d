"""Access keys: a user signs requests with the secret of one (docs/reference/ocp-api.md 5.1)."""

import secrets
import string
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from service.access.errors import TooManyAccessKeys, UnknownAccessKey, UnknownUser
from service.access.request_signatures import VerifiedSignature
from service.access.users import User, user_from_row
from service.store.database import Database, execute, fetch, fetch_as
from service.store.database_errors import retry_contention
from service.store.keyring import Secrets

KEY_LIMIT = 5  # per user, disabled keys included
ALPHANUMERIC = string.ascii_letters + string.digits


@dataclass(frozen=True, kw_only=True)
class AccessKey:
    """A row of the list of access keys, without the secret."""

    id: str
    user_name: str
    enabled: bool
    create_time: datetime


@retry_contention
async def create(database: Database, keyring: Secrets, user_name: str) -> tuple[str, SecretStr]:
    """Create an access key; return it and its secret, which cannot be read again.

    Raise UnknownUser, TooManyAccessKeys.
    """
    key = "".join(secrets.choice(ALPHANUMERIC) for _ in range(16))
    secret = SecretStr(secrets.token_hex(16))
    async with database.transaction() as connection:
        user = await fetch(connection, "lock_user", name=user_name)
        if not user:
            raise UnknownUser(name=user_name)
        user_id = user[0]["id"]
        [count] = await fetch(connection, "count_access_keys", user_id=user_id)
        if count["total"] >= KEY_LIMIT:
            raise TooManyAccessKeys(name=user_name, limit=KEY_LIMIT)
        ciphertext = keyring.encrypt(secret)
        await execute(connection, "insert_access_key", id=key, user_id=user_id, ciphertext=ciphertext)
    return key, secret


@retry_contention
async def set_enabled(database: Database, key: str, *, enabled: bool) -> None:
    """Enable or disable an access key; raise UnknownAccessKey."""
    async with database.transaction() as connection:
        if not await fetch(connection, "set_access_key_enabled", id=key, enabled=enabled):
            raise UnknownAccessKey(key=key)


async def list_all(database: Database) -> list[AccessKey]:
    """Return all access keys, ordered by user and time of creation."""
    async with database.transaction() as connection:
        return await fetch_as(connection, AccessKey, "access_keys")


async def find_enabled(database: Database, keyring: Secrets, key: str) -> tuple[User, SecretStr] | None:
    """Return the user and the secret of a key; None when it does not exist, or it or its user is disabled."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "enabled_access_key", id=key)
    return (user_from_row(rows[0]), keyring.decrypt(rows[0]["ciphertext"])) if rows else None


@retry_contention
async def use_signature(database: Database, key: str, signature: VerifiedSignature, now: datetime) -> bool:
    """Record a signature as used; return whether this is its first use (replay protection).

    `now` is the time at which it was verified. The record is kept until the signature has expired, also when the clock
    of the database differs from that of this process.
    """
    async with database.transaction() as connection:
        values = {"id": key, "digest": signature.digest, "validity": signature.expires - now}
        return bool(await fetch(connection, "insert_used_signature", **values))
