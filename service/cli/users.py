"""The command line for who may call: `python -m service user …` and `python -m service accesskey …`."""

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.access import access_keys, audit, users
from service.access.roles import Role
from service.cli.local import local_call
from service.model.settings import take
from service.store.keyring import ADMIN_PASSWORD
from service.tasks.resources import Resources, open_resources

user = typer.Typer(no_args_is_help=True, help="Users: who may call, and what each may do.")
access_key = typer.Typer(no_args_is_help=True, help="Access keys: what users sign requests with.")

Name = Annotated[str, typer.Argument(help="The user's name.")]
Key = Annotated[str, typer.Argument(help="The access key's id.")]
Roles = Annotated[list[Role], typer.Option("--role", help="What it may do; can be given several times.")]


@user.command("add")
def add_user(name: Name, role: Roles) -> None:
    """Make a user; the password is asked for, or read from standard input."""
    password = _new_password()
    _change(f"user add {name}", lambda resources: users.add(resources.database, name, password, role))


@user.command("passwd")
def set_password(name: Name) -> None:
    """Give a user a new password, asked for or read from standard input."""
    password = _new_password()

    async def change(resources: Resources) -> None:
        await users.set_password(resources.database, name, password)
        if name == users.ADMIN:
            # What stands in it is not the password any more.
            (resources.settings.data_dir / ADMIN_PASSWORD).unlink(missing_ok=True)

    _change(f"user passwd {name}", change)


@user.command("disable")
def disable_user(name: Name) -> None:
    """Keep a user out, with password and access keys, from its next request on."""
    _change(f"user disable {name}", lambda resources: users.set_enabled(resources.database, name, enabled=False))


@user.command("enable")
def enable_user(name: Name) -> None:
    """Let a disabled user in again."""
    _change(f"user enable {name}", lambda resources: users.set_enabled(resources.database, name, enabled=True))


@user.command("list")
def list_users() -> None:
    """All users with their roles."""
    rows = _do(lambda resources: users.everybody(resources.database))
    _print(("id", "name", "roles", "state"), [(str(u.id), u.name, ", ".join(u.roles), _state(u.enabled)) for u in rows])


@access_key.command("create")
def create_access_key(name: Name) -> None:
    """Make an access key for a user; its secret is shown this once."""
    key, secret = _change(
        f"accesskey create {name}",
        lambda resources: access_keys.create(resources.database, resources.secrets, name),
    )
    print(f"AccessKey ID: {key}\nAccessKey Secret: {secret.get_secret_value()}")


@access_key.command("disable")
def disable_access_key(key: Key) -> None:
    """Refuse what is signed with a key, from the next request on."""
    _change(
        f"accesskey disable {key}", lambda resources: access_keys.set_enabled(resources.database, key, enabled=False)
    )


@access_key.command("enable")
def enable_access_key(key: Key) -> None:
    """Accept a disabled key again."""
    _change(f"accesskey enable {key}", lambda resources: access_keys.set_enabled(resources.database, key, enabled=True))


@access_key.command("list")
def list_access_keys() -> None:
    """All access keys, without their secrets."""
    rows = _do(lambda resources: access_keys.everyones(resources.database))
    columns = ("id", "user", "state", "made")
    _print(columns, [(k.id, k.user_name, _state(k.enabled), f"{k.create_time:%Y-%m-%d %H:%M}") for k in rows])


def _change[Result](command: str, verb: Callable[[Resources], Awaitable[Result]]) -> Result:
    """Run a command that changes something, with a record in the audit."""

    async def recorded(resources: Resources) -> Result:
        async with audit.recording(resources.database, local_call(command)):
            return await verb(resources)

    return _do(recorded)


def _do[Result](verb: Callable[[Resources], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        async with open_resources(take()) as resources:
            await users.ensure_admin(resources.database, resources.settings.data_dir)
            return await verb(resources)

    return asyncio.run(run())


def _new_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("New password: ")
    if getpass.getpass("Again: ") != password:
        raise SystemExit("The two are not the same.")
    return password


def _state(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"


def _print(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=True).print(table)
