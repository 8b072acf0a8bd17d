"""The command line for the key of the secrets in the database: `python -m service key …`."""

import asyncio

import typer

from service.access import audit, key_rotation
from service.cli.local import local_call
from service.model.settings import take
from service.tasks.resources import open_resources

key = typer.Typer(no_args_is_help=True, help="The key that secrets in the database are encrypted with.")


@key.command("rotate")
def rotate() -> None:
    """Encrypt all secrets with a new key, while the service runs; the former key can still read until `key retire`.

    Where TAKEOVER_SECRET_KEY is set, put the new key before the former one there, for every process, first.
    """

    async def run() -> None:
        async with open_resources(take()) as resources:
            async with audit.recording(resources.database, local_call("key rotate")):
                done = await key_rotation.rotate(resources.database, resources.secrets)
            where = resources.secrets.file or "TAKEOVER_SECRET_KEY"
            print(f"{done.renewed} of {done.total} secrets are encrypted anew, with the first key in {where}.")
            print(
                "The former key is still needed by what was written meanwhile, and by backups; `key retire` ends that."
            )

    asyncio.run(run())


@key.command("retire")
def retire() -> None:
    """Encrypt with the first key what is not yet, and remove the former keys from the key file."""

    async def run() -> None:
        async with open_resources(take()) as resources:
            async with audit.recording(resources.database, local_call("key retire")):
                done, dropped = await key_rotation.retire(resources.database, resources.secrets)
            print(f"{done.renewed} of {done.total} secrets are encrypted anew; all open with the first key alone.")
            if resources.secrets.file:
                print(f"Keys removed from {resources.secrets.file}: {dropped}.")
            else:
                print("The other keys can be taken out of TAKEOVER_SECRET_KEY.")

    asyncio.run(run())
