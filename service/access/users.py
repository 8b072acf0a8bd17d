"""Who may call: the users in the database, and the administrator that the first start makes."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from service.access.errors import UnknownUser, UserExists, UserInvalid
from service.access.passwords import Passwords, hash_password
from service.access.roles import Role
from service.model.errors import StartRefused
from service.model.types import JSON
from service.store.database import Connection, Database, execute, fetch
from service.store.database_errors import retry_contention
from service.store.keyring import admin_password

ADMIN = "admin"
ADMIN_ID = 100  # OCP's id of the user admin (docs/reference/ocp-api.md 2.3)
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128
_LENGTHS = f"{SHORTEST_PASSWORD} to {LONGEST_PASSWORD}"


@dataclass(frozen=True, kw_only=True)
class User:
    """Who a request acts as."""

    id: int
    name: str
    roles: tuple[Role, ...]
    enabled: bool = True
    password_hash: str = field(default="", repr=False)


def from_row(row: JSON) -> User:
    """The user of a row that has a user's columns."""
    return User(
        id=row["id"],
        name=row["name"],
        roles=tuple(Role(role) for role in row["roles"]),
        enabled=row["enabled"],
        password_hash=row["password_hash"],
    )


async def find(database: Database, name: str) -> User | None:
    """The user called `name`, disabled or not."""
    async with database.single() as connection:
        rows = await fetch(connection, "user_by_name", name=name)
    return from_row(rows[0]) if rows else None


async def everybody(database: Database) -> list[User]:
    """All users by id."""
    async with database.transaction() as connection:
        return [from_row(row) for row in await fetch(connection, "users")]


@retry_contention
async def add(database: Database, name: str, password: str, roles: Collection[Role]) -> None:
    """Make a user; raises UserExists, UserInvalid."""
    if not NAME.fullmatch(name):
        raise UserInvalid(reason="A name is a letter, then up to 63 letters, digits, '_', '.' and '-'.")
    if not roles:
        raise UserInvalid(reason="A user needs a role.")
    hashed = await _hash(password)
    async with database.transaction() as connection:
        values = {"name": name, "password_hash": hashed, "roles": [*roles]}
        if not await fetch(connection, "insert_user", **values):
            raise UserExists(name=name)


@retry_contention
async def set_password(database: Database, name: str, password: str) -> None:
    """Give a user a new password, and another chance to log in; its sessions end. Raises UnknownUser, UserInvalid."""
    hashed = await _hash(password)
    async with database.transaction() as connection:
        await _change(connection, "set_user_password", name, password_hash=hashed)
        await execute(connection, "delete_sessions_of_user", name=name)
        await execute(connection, "delete_login_failures", name=name)


@retry_contention
async def set_enabled(database: Database, name: str, *, enabled: bool) -> None:
    """Let a user in or keep it out, its access keys as well; its sessions end. Raises UnknownUser."""
    async with database.transaction() as connection:
        await _change(connection, "set_user_enabled", name, enabled=enabled)
        await execute(connection, "delete_sessions_of_user", name=name)


async def ensure_admin(database: Database, directory: Path) -> None:
    """Make the administrator when there is none, with a random password in `directory`/admin-password (0600).

    Raise StartRefused when the file is there and has no valid password.
    """
    if await find(database, ADMIN):
        return
    file, password = admin_password(directory)
    if not _is_valid(password):
        reason = (
            f"{file} has no password of {_LENGTHS} printable characters. Remove the file: the service makes a new one."
        )
        raise StartRefused(reason=reason)
    hashed = await hash_password(password)
    async with database.transaction() as connection:
        values = {"id": ADMIN_ID, "name": ADMIN, "password_hash": hashed, "roles": [Role.ADMIN]}
        inserted = await fetch(connection, "insert_admin", **values)
    if not inserted and not await _is_admins(database, password):
        # A process with another data directory was first. A process that shares the directory uses the same file.
        file.unlink(missing_ok=True)


async def _is_admins(database: Database, password: str) -> bool:
    admin = await find(database, ADMIN)
    return admin is not None and await Passwords().verify(password.encode(), admin.password_hash)


async def _change(connection: Connection, query: str, name: str, **values: object) -> None:
    if not await fetch(connection, query, name=name, **values):
        raise UnknownUser(name=name)


async def _hash(password: str) -> str:
    if not _is_valid(password):
        raise UserInvalid(reason=f"A password has {_LENGTHS} printable characters.")
    return await hash_password(password)


def _is_valid(password: str) -> bool:
    return SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD and password.isprintable()
