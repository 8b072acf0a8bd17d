"""Commands for users and access keys: `python -m service user …` and `python -m service accesskey …`."""

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from service.access import access_keys, audit, users
from service.access.roles import Role
from service.cli.errors import InvalidUsage
from service.cli.examples import examples
from service.cli.local_audit import audit_call
from service.cli.output import Column, Format, Output, print_list
from service.cli.states import local_time
from service.model.settings import take
from service.store.keyring import ADMIN_PASSWORD
from service.tasks.resources import Resources, open_resources

USERS = (
    Column(header="ID", value=lambda user: user["id"]),
    Column(header="NAME", value=lambda user: user["name"]),
    Column(header="ROLES", value=lambda user: ", ".join(user["roles"])),
    Column(header="STATE", value=lambda user: _state(user["enabled"])),
)
ACCESS_KEYS = (
    Column(header="ID", value=lambda key: key["id"]),
    Column(header="USER", value=lambda key: key["userName"]),
    Column(header="STATE", value=lambda key: _state(key["enabled"])),
    Column(header="CREATED", value=lambda key: local_time(key["createTime"])),
)

user = typer.Typer(rich_markup_mode=None)
access_key = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Name of the user.")]
Key = Annotated[str, typer.Argument(help="Id of the access key.")]
Roles = Annotated[list[Role], typer.Option("--role", help="Role of the user. Repeat the option for several roles.")]


@user.command("add", epilog=examples(("user add anne --role OBPROXY_MANAGER", "add a user who may request takeovers")))
def add_user(name: Name, role: Roles) -> None:
    """Add a user. Reads the password from the terminal or from standard input."""
    password = _new_password()
    _run_audited(f"user add {name}", lambda resources: users.add(resources.database, name, password, role))


@user.command("passwd", epilog=examples(("user passwd admin", "change the password of admin")))
def set_password(name: Name) -> None:
    """Change the password of a user. Reads it from the terminal or from standard input."""
    password = _new_password()

    async def change(resources: Resources) -> None:
        await users.set_password(resources.database, name, password)
        if name == users.ADMIN_NAME:
            # The file contains the previous password.
            (resources.settings.data_dir / ADMIN_PASSWORD).unlink(missing_ok=True)

    _run_audited(f"user passwd {name}", change)


@user.command("disable", epilog=examples(("user disable anne", "reject all requests of anne")))
def disable_user(name: Name) -> None:
    """Disable a user. The service rejects the user's next request, with password or access key."""
    _run_audited(f"user disable {name}", lambda resources: users.set_enabled(resources.database, name, enabled=False))


@user.command("enable", epilog=examples(("user enable anne", "accept them again")))
def enable_user(name: Name) -> None:
    """Enable a disabled user."""
    _run_audited(f"user enable {name}", lambda resources: users.set_enabled(resources.database, name, enabled=True))


@user.command("list", epilog=examples(("user list -o json", "print all users as JSON")))
def list_users(output: Output = Format.TABLE) -> None:
    """List all users with their roles."""
    rows = _run(lambda resources: users.list_all(resources.database))
    found = [{"enabled": row.enabled, "id": row.id, "name": row.name, "roles": list(row.roles)} for row in rows]
    print_list({"contents": found}, USERS, output)


@access_key.command("create", epilog=examples(("accesskey create anne", "create an access key for anne")))
def create_access_key(name: Name) -> None:
    """Create an access key for a user. Prints its secret, which cannot be shown again."""
    key, secret = _run_audited(
        f"accesskey create {name}",
        lambda resources: access_keys.create(resources.database, resources.secrets, name),
    )
    print(f"AccessKey ID: {key}\nAccessKey Secret: {secret.get_secret_value()}")


@access_key.command("disable", epilog=examples(("accesskey disable ID", "reject what the key signs")))
def disable_access_key(key: Key) -> None:
    """Disable an access key. The service rejects the next request that it signs."""
    _run_audited(
        f"accesskey disable {key}", lambda resources: access_keys.set_enabled(resources.database, key, enabled=False)
    )


@access_key.command("enable", epilog=examples(("accesskey enable ID", "accept it again")))
def enable_access_key(key: Key) -> None:
    """Enable a disabled access key."""
    _run_audited(
        f"accesskey enable {key}", lambda resources: access_keys.set_enabled(resources.database, key, enabled=True)
    )


@access_key.command("list", epilog=examples(("accesskey list", "list the ids and states of all keys")))
def list_access_keys(output: Output = Format.TABLE) -> None:
    """List all access keys, without their secrets."""
    rows = _run(lambda resources: access_keys.list_all(resources.database))
    found = [
        {"createTime": row.create_time.isoformat(), "enabled": row.enabled, "id": row.id, "userName": row.user_name}
        for row in rows
    ]
    print_list({"contents": found}, ACCESS_KEYS, output)


def _run_audited[Result](command: str, action: Callable[[Resources], Awaitable[Result]]) -> Result:
    """Run an action that changes the database, and record it in the audit."""

    async def recorded(resources: Resources) -> Result:
        async with audit.recorded(resources.database, audit_call(command)):
            return await action(resources)

    return _run(recorded)


def _run[Result](action: Callable[[Resources], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with open_resources(take()) as resources:
            await users.ensure_admin(resources.database, resources.settings.data_dir)
            return await action(resources)

    return asyncio.run(run())


def _new_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("New password: ")
    if getpass.getpass("Again: ") != password:
        raise InvalidUsage("The two passwords differ.")
    return password


def _state(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"
