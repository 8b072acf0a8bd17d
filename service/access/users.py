"""Users in the database, and the administrator that the first start creates."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from service.access.errors import UnknownUser, UserExists, UserInvalid
from service.access.passwords import PasswordVerifier, hash_password
from service.access.roles import Role
from service.model.errors import StartFailed
from service.model.types import JSON
from service.store.database import Connection, Database, execute, fetch
from service.store.database_errors import retry_contention
from service.store.keyring import admin_password

ADMIN_NAME = "admin"
ADMIN_ID = 100  # OCP's id of the user admin (docs/reference/ocp-api.md 2.3)
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
PASSWORD_MIN_LENGTH, PASSWORD_MAX_LENGTH = 8, 128
_LENGTHS = f"{PASSWORD_MIN_LENGTH} to {PASSWORD_MAX_LENGTH}"


@dataclass(frozen=True, kw_only=True)
class User:
    """A user account."""

    id: int
    name: str
    roles: tuple[Role, ...]
    enabled: bool = True
    password_hash: str = field(default="", repr=False)


def user_from_row(row: JSON) -> User:
    """Return the user of a row with the columns of `user_account`."""
    return User(
        id=row["id"],
        name=row["name"],
        roles=tuple(Role(role) for role in row["roles"]),
        enabled=row["enabled"],
        password_hash=row["password_hash"],
    )


async def find(database: Database, name: str) -> User | None:
    """Return the user called `name`, also when it is disabled; None when there is none."""
    async with database.autocommit() as connection:
        rows = await fetch(connection, "user_by_name", name=name)
    return user_from_row(rows[0]) if rows else None


async def list_all(database: Database) -> list[User]:
    """Return all users, ordered by id."""
    async with database.transaction() as connection:
        return [user_from_row(row) for row in await fetch(connection, "users")]


@retry_contention
async def add(database: Database, name: str, password: str, roles: Collection[Role]) -> None:
    """Create a user; raise UserExists, UserInvalid."""
    if not NAME.fullmatch(name):
        raise UserInvalid(reason=f"the name {name!r} must be a letter, then up to 63 letters, digits, '_', '.' and '-'")
    if not roles:
        raise UserInvalid(reason=f"{name} must have at least one role")
    hashed = await _hash(password)
    async with database.transaction() as connection:
        values = {"name": name, "password_hash": hashed, "roles": [*roles]}
        if not await fetch(connection, "insert_user", **values):
            raise UserExists(name=name)


@retry_contention
async def set_password(database: Database, name: str, password: str) -> None:
    """Set the password of a user, reset its failed logins and end its sessions; raise UnknownUser, UserInvalid."""
    hashed = await _hash(password)
    async with database.transaction() as connection:
        await _update(connection, "set_user_password", name, password_hash=hashed)
        await execute(connection, "delete_sessions_of_user", name=name)
        await execute(connection, "delete_login_failures", name=name)


@retry_contention
async def set_enabled(database: Database, name: str, *, enabled: bool) -> None:
    """Enable or disable a user and its access keys, and end its sessions; raise UnknownUser."""
    async with database.transaction() as connection:
        await _update(connection, "set_user_enabled", name, enabled=enabled)
        await execute(connection, "delete_sessions_of_user", name=name)


async def ensure_admin(database: Database, directory: Path) -> None:
    """Create the administrator if it is missing, with a random password in `directory`/admin-password (mode 0600).

    Raise StartFailed when that file exists without a valid password.
    """
    if await find(database, ADMIN_NAME):
        return
    file, password = admin_password(directory)
    if not _is_valid(password):
        fix = "Remove the file; the service writes a new one."
        reason = f"{file} must have a password of {_LENGTHS} printable characters. {fix}"
        raise StartFailed(reason=reason)
    hashed = await hash_password(password)
    async with database.transaction() as connection:
        values = {"id": ADMIN_ID, "name": ADMIN_NAME, "password_hash": hashed, "roles": [Role.ADMIN]}
        inserted = await fetch(connection, "insert_admin", **values)
    if not inserted and not await _is_admin_password(database, password):
        # A process with another data directory was faster. Processes that share the directory share the file.
        file.unlink(missing_ok=True)


async def _is_admin_password(database: Database, password: str) -> bool:
    admin = await find(database, ADMIN_NAME)
    return admin is not None and await PasswordVerifier().verify(password.encode(), admin.password_hash)


async def _update(connection: Connection, query: str, name: str, **values: object) -> None:
    if not await fetch(connection, query, name=name, **values):
        raise UnknownUser(name=name)


async def _hash(password: str) -> str:
    if not _is_valid(password):
        raise UserInvalid(reason=f"the password must have {_LENGTHS} printable characters")
    return await hash_password(password)


def _is_valid(password: str) -> bool:
    return PASSWORD_MIN_LENGTH <= len(password) <= PASSWORD_MAX_LENGTH and password.isprintable()
