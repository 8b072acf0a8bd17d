"""Commands that start work on hosts: takeovers, and the operations on managed OBProxy servers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from service.cli import names
from service.cli.client import Client
from service.cli.connection import read_secret, with_client
from service.cli.errors import InvalidUsage
from service.cli.examples import examples
from service.cli.options import BatchSize, Canary, ClusterName, IdempotencyKey, MaxFailures, ServerNames, Watch
from service.cli.output import Format, Output, print_json
from service.cli.requests import watch_request
from service.cli.transport import Document
from service.cli.watching import exit_with_outcome, watch
from service.model.fleet import DEFAULT_SQL_PORT
from service.model.types import JSON

submissions = typer.Typer(rich_markup_mode=None)


@submissions.command(
    epilog=examples(
        ("submit test odp-1 odp-2:2884", "take over two hosts into OBProxy cluster test"),
        ("submit 1 3 --watch", "take over host 3 at port 2883 into OBProxy cluster 1, and watch"),
        ("submit 1 odp-3 --allow-restart", "restart the OBProxy where a parameter needs it"),
        ("submit 1 1 2 3 4 5 --canary 1 --batch-size 2", "start hosts in batches, in their order"),
        ("submit 1 odp-3 --check", "change nothing; show all failed rules and the changes of a takeover"),
    )
)
@with_client
def submit(
    client: Client,
    cluster: ClusterName,
    host: Annotated[
        list[str],
        typer.Argument(
            metavar="HOST", help=f"Id or name of a host, or HOST:SQL_PORT. Default port: {DEFAULT_SQL_PORT}."
        ),
    ],
    proxysys_password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File that contains the password of root@proxysys, if it differs from the cluster's."
        ),
    ] = None,
    allow_restart: Annotated[
        bool | None,
        typer.Option(help="Allow or forbid a restart where a parameter needs it. Default: the setting of the cluster."),
    ] = None,
    canary: Canary = 0,
    batch_size: BatchSize = None,
    max_failures: MaxFailures = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing: report all failed rules and the changes of a takeover.")
    ] = False,
    idempotency_key: IdempotencyKey = None,
    watch_tasks: Watch = False,
    output: Output = Format.TABLE,
) -> None:
    """Take hosts over, and print the ids of the task instances.

    There is one task instance per host.
    """
    targets = [names.target(text) for text in host]
    password = {}
    if proxysys_password_file:
        password["proxysysPasswd"] = read_secret(proxysys_password_file, "password of root@proxysys")
    rollout = _rollout(canary, batch_size, max_failures)
    ids = names.host_ids(client, [target.host for target in targets])
    hosts = [
        {"hostId": host_id, "sqlPort": target.port or DEFAULT_SQL_PORT, **password}
        for host_id, target in zip(ids, targets, strict=True)
    ]
    documents = client.take_over(
        names.cluster_id(client, cluster),
        hosts,
        idempotency_key,
        allow_restart=allow_restart,
        rollout=rollout,
        check=check,
    )
    if check:
        exit_with_outcome(watch(client, [document["id"] for document in documents], output, with_changes=True))
    _print_submitted(client, documents, watch_tasks, output)


@submissions.command(
    epilog=examples(
        ("release test odp-1 odp-2", "release the OBProxy servers of two hosts"),
        ("release 1 9 --skip-host 9", "forget server 9, whose host is gone"),
    )
)
@with_client
def release(
    client: Client,
    cluster: ClusterName,
    server: ServerNames,
    skip_host: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVER", help="A server whose host is gone: nothing runs on the host. Can be repeated."),
    ] = None,
    canary: Canary = 0,
    batch_size: BatchSize = None,
    max_failures: MaxFailures = None,
    idempotency_key: IdempotencyKey = None,
    watch_tasks: Watch = False,
    output: Output = Format.TABLE,
) -> None:
    """Release OBProxy servers, which keep running.

    Prints the ids of the task instances.
    """
    rollout = _rollout(canary, batch_size, max_failures)
    cluster_id = names.cluster_id(client, cluster)
    # A repeated request must be the same also when its servers have been released meanwhile.
    repeatable = idempotency_key is not None
    servers = names.server_ids(client, cluster_id, server, with_released=repeatable)
    gone = names.server_ids(client, cluster_id, skip_host or (), with_released=repeatable)
    documents = client.release(cluster_id, servers, gone, idempotency_key, rollout=rollout)
    _print_submitted(client, documents, watch_tasks, output)


@submissions.command(
    epilog=examples(
        ("refresh test odp-1 odp-2 --watch", "refresh the OBProxy servers of two hosts, and watch"),
        ("refresh 1 7 8 --batch-size 1", "refresh the servers 7 and 8, one after the other"),
    )
)
@with_client
def refresh(
    client: Client,
    cluster: ClusterName,
    server: ServerNames,
    canary: Canary = 0,
    batch_size: BatchSize = None,
    max_failures: MaxFailures = None,
    idempotency_key: IdempotencyKey = None,
    watch_tasks: Watch = False,
    output: Output = Format.TABLE,
) -> None:
    """Set OBProxy servers to their cluster's values again.

    Prints the ids of the task instances.
    """
    rollout = _rollout(canary, batch_size, max_failures)
    cluster_id = names.cluster_id(client, cluster)
    servers = names.server_ids(client, cluster_id, server)
    documents = client.refresh(cluster_id, servers, idempotency_key, rollout=rollout)
    _print_submitted(client, documents, watch_tasks, output)


@submissions.command(
    epilog=examples(
        ("restart test odp-1 odp-2 --watch", "restart the OBProxy servers of two hosts, and watch"),
        ("restart 1 9 --allow-cold-restart", "also disconnect clients, of a version without a hot restart"),
    )
)
@with_client
def restart(
    client: Client,
    cluster: ClusterName,
    server: ServerNames,
    allow_cold_restart: Annotated[
        bool,
        typer.Option("--allow-cold-restart", help="Permit a restart that disconnects clients, without a hot restart."),
    ] = False,
    canary: Canary = 0,
    batch_size: BatchSize = None,
    max_failures: MaxFailures = None,
    idempotency_key: IdempotencyKey = None,
    watch_tasks: Watch = False,
    output: Output = Format.TABLE,
) -> None:
    """Restart OBProxy servers, one at a time.

    Prints the ids of the task instances.
    """
    rollout = _rollout(canary, batch_size, max_failures)
    cluster_id = names.cluster_id(client, cluster)
    servers = names.server_ids(client, cluster_id, server)
    documents = client.restart(cluster_id, servers, idempotency_key, allow_cold=allow_cold_restart, rollout=rollout)
    _print_submitted(client, documents, watch_tasks, output)


def _rollout(canary: int, batch_size: int | None, max_failures: int | None) -> JSON | None:
    """Return the policy by which hosts start; None = all at once. Raise InvalidUsage when a limit has no batches."""
    if not canary and batch_size is None:
        if max_failures is not None:
            raise InvalidUsage("--max-failures needs --canary or --batch-size: otherwise all hosts start at once.")
        return None
    policy: JSON = {"canary": canary, "maxFailures": max_failures or 0}
    return policy if batch_size is None else {**policy, "batchSize": batch_size}


def _print_submitted(client: Client, documents: Sequence[Document], watch_tasks: bool, output: Format) -> None:
    ids = [document["id"] for document in documents]
    if watch_tasks and len(ids) > 1:
        watch_request(client, client.task(ids[0])["requestId"], output)
    elif watch_tasks:
        exit_with_outcome(watch(client, ids, output))
    elif output is Format.JSON:
        print_json({"contents": documents})
    else:
        print(*ids, sep="\n")
