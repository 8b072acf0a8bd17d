"""The command line `python -m service …`.

The modules of the service itself are imported only by the commands that need them: without them, a command that calls
a service starts in a third of the time.
"""

import sys
from typing import Annotated

import typer

from service import __version__
from service.cli import audit, control, discoveries, fleet, requests, submit, tasks
from service.cli.deferred import deferred
from service.cli.errors import ClientError
from service.cli.examples import examples
from service.model.errors import TakeoverError

EXAMPLES = examples(
    ("serve", "run the service with its worker"),
    ("submit test odp-1:2883 --watch", "take over host odp-1 into OBProxy cluster test, and watch"),
    ("tasks --status FAILED", "list failed task instances"),
    ("log odp-1 --follow", "follow the log of what runs on host odp-1"),
    ("request watch 12", "watch all hosts of request 12"),
    ("retry 7 --watch", "retry the failed subtasks of task instance 7, and watch"),
)

main = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=EXAMPLES,
)
main.add_typer(submit.submissions)
main.add_typer(tasks.tasks)
main.add_typer(control.control)
main.add_typer(requests.requests)
main.add_typer(requests.request, name="request")
main.add_typer(fleet.fleet)
main.add_typer(fleet.cluster, name="cluster")
main.add_typer(fleet.host, name="host")
main.add_typer(discoveries.listing)
main.add_typer(audit.audit)
main.add_typer(deferred("service.cli.users", "user"), name="user", help="Manage users and their roles.")
main.add_typer(
    deferred("service.cli.users", "access_key"), name="accesskey", help="Manage access keys, which sign requests."
)
main.add_typer(
    deferred("service.cli.keys", "key"), name="key", help="Rotate the key that encrypts secrets in the database."
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"obproxy-takeover {__version__}")
        raise typer.Exit


@main.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take over running OBProxy processes into managed OBProxy clusters."""


@main.command(epilog=examples(("serve", "run the service at http://127.0.0.1:8080 with an embedded database")))
def serve() -> None:
    """Run the service: HTTP server and worker.

    With TAKEOVER_WORKER=false it runs the HTTP server alone. docs/settings.md has all settings.
    """
    from service.cli import server

    server.serve()


@main.command("worker", epilog=examples(("worker", "run takeovers of the database in TAKEOVER_DATABASE_URL")))
def run_worker() -> None:
    """Run a worker without HTTP server. Workers on several machines can share a database."""
    from service.cli import server

    server.run_worker()


@main.command(epilog=examples(("migrate", "migrate the database in TAKEOVER_DATABASE_URL")))
def migrate() -> None:
    """Migrate the database to the schema of this version.

    `serve` and `worker` do it as well.
    """
    from service.cli import server

    server.migrate()


def run() -> None:
    """Run the program. Exit with one sentence instead of a traceback on errors that the user can correct."""
    try:
        main()
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        raise SystemExit(error.exit_status if isinstance(error, ClientError) else 1) from None


def _sentence(error: Exception) -> str | None:
    """Return what the user can correct, None if it is a defect."""
    if isinstance(error, (TakeoverError, ClientError)):
        return str(error)
    from service.store.database_errors import explain

    return explain(error)
