"""Commands for the key that encrypts secrets in the database: `python -m service key …`."""

import asyncio

import typer

from service.access import audit, key_rotation
from service.cli.examples import examples
from service.cli.local_audit import audit_call
from service.model.settings import take
from service.tasks.resources import open_resources

key = typer.Typer(rich_markup_mode=None)


@key.command("rotate", epilog=examples(("key rotate", "encrypt all secrets with a new key")))
def rotate() -> None:
    """Encrypt all secrets with a new key. The service can keep running.

    The previous key remains valid for reading until `key retire`.

    If TAKEOVER_SECRET_KEY is set: first put the new key before the previous one there, for every process.
    """

    async def run() -> None:
        async with open_resources(take()) as resources:
            async with audit.recorded(resources.database, audit_call("key rotate")):
                done = await key_rotation.rotate(resources.database, resources.secrets)
            source = resources.secrets.file or "TAKEOVER_SECRET_KEY"
            print(f"{done.changed} of {done.total} secrets were encrypted again with the first key in {source}.")
            print("Secrets written meanwhile and backups still need the previous key. `key retire` removes it.")

    asyncio.run(run())


@key.command("retire", epilog=examples(("key retire", "remove the previous keys")))
def retire() -> None:
    """Encrypt the remaining secrets with the first key, and remove the previous keys from the key file."""

    async def run() -> None:
        async with open_resources(take()) as resources:
            async with audit.recorded(resources.database, audit_call("key retire")):
                done, dropped = await key_rotation.retire_old_keys(resources.database, resources.secrets)
            print(f"{done.changed} of {done.total} secrets were encrypted again. All secrets now use the first key.")
            if resources.secrets.file:
                print(f"Keys removed from {resources.secrets.file}: {dropped}.")
            else:
                print("Remove the other keys from TAKEOVER_SECRET_KEY.")

    asyncio.run(run())
