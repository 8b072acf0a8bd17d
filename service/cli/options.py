"""Arguments and options that several commands have."""

from typing import Annotated

import typer

ClusterName = Annotated[str, typer.Argument(metavar="CLUSTER", help="Id or name of the OBProxy cluster.")]
ServerNames = Annotated[
    list[str],
    typer.Argument(metavar="SERVER", help="Ids of OBProxy servers, or their hosts: HOST or HOST:SQL_PORT."),
]
TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="Id of a task instance, or name of a host: its newest one.")
]
TaskNames = Annotated[
    list[str], typer.Argument(metavar="TASK", help="Ids of task instances, or names of hosts: their newest ones.")
]
RequestId = Annotated[int, typer.Argument(metavar="REQUEST", help="Id of the request.")]
RequestIds = Annotated[list[int], typer.Argument(metavar="REQUEST", help="Ids of requests.")]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Watch until all have ended. The exit status is that of the outcome.")
]
IdempotencyKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="Idempotency key. Requests with the same key are executed once.")
]
Canary = Annotated[int, typer.Option(min=0, metavar="NUMBER", help="Number of hosts that start before all others.")]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, metavar="NUMBER", help="Hosts that start together. Default: all hosts after the canary."),
]
MaxFailures = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="NUMBER", help="No further host starts when more hosts than this have failed. Default: 0."
    ),
]
PageNumber = Annotated[int, typer.Option("--page", min=1, metavar="NUMBER", help="Number of the page.")]
Limit = Annotated[int, typer.Option("--limit", "-L", min=1, max=2000, metavar="NUMBER", help="Rows of one page.")]
All = Annotated[bool, typer.Option("--all", help="List all pages.")]
