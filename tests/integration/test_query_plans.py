"""The plans of all queries: an index finds the rows of a long history (docs/scale.md has the times)."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import sql

from service.store.sql import queries
from tests.bench import history

TASKS, HOSTS = 4000, 400
LARGE = ("request", "task_instance", "subtask_instance", "subtask_dependency", "subtask_log", "run", "obproxy_server")
PAGE: dict[str, object] = {
    **{"names": None, "statuses": None, "type": None, "host_id": None, "superseded": None, "held": None},
    **{"host_names": None, "clusters": None, "creators": None, "start_after": None, "start_before": None},
    **{"held_by": None, "rolled_back": None, "ids": None, "size": 10, "offset": 0},
}
REQUESTS: dict[str, object] = {
    **{"workflow": None, "clusters": None, "creators": None, "start_after": None, "start_before": None},
    **{"host_id": None, "host_names": None, "statuses": None, "size": 10, "offset": 0},
}
RUN = "6f1ed002-ab5b-4b39-8e0c-2f1d5f5b3f6a"
EXPIRED: dict[str, object] = {"idents": [RUN], "stamps": [datetime(2026, 11, 29, tzinfo=UTC)]}

BY_NAME = ("task_ids_by_name_ascending", "task_ids_by_name_descending")
LISTS = ("task_ids_descending", "task_ids_ascending", *BY_NAME, "count_tasks")
FILTERS: list[dict[str, object]] = [
    {},
    {"statuses": ["RUNNING"]},
    {"statuses": ["RUNNING", "FAILED"]},
    {"host_id": 7},
    {"statuses": ["RUNNING", "FAILED"], "superseded": False, "held": False},
    {"statuses": ["RUNNING"], "held_by": "ROLLOUT"},
    {"statuses": ["SUCCESSFUL"], "rolled_back": True},
    {"statuses": ["SUCCESSFUL"], "rolled_back": False},
    {"statuses": ["FAILED"], "superseded": True},
    {"ids": [7, 8]},
    {"names": ["Install obproxy"]},
    {"names": []},
    {"offset": TASKS - 10},
    {"host_names": ["host-7", "host-8"]},
    {"clusters": ["one of many"]},
    {"creators": ["admin"]},
    {"start_after": datetime(2026, 11, 29, tzinfo=UTC), "start_before": datetime(2026, 11, 30, tzinfo=UTC)},
]
REQUEST_LISTS = ("request_ids_descending", "request_ids_ascending", "count_requests")
REQUEST_FILTERS: list[dict[str, object]] = [
    {},
    {"offset": TASKS - 10},
    {"workflow": "restart"},
    {"clusters": ["one of many"]},
    {"creators": ["one of many"]},
    {"start_after": datetime(2026, 11, 29, tzinfo=UTC), "start_before": datetime(2026, 11, 30, tzinfo=UTC)},
    {"host_id": 7},
    {"host_names": ["host-7", "host-8"]},
    {"statuses": ["RUNNING", "STOPPED"]},
    {"statuses": ["FAILED"]},
]
COMMON: list[dict[str, object]] = [
    {"workflow": "takeover"},
    {"creators": ["admin"]},
    {"statuses": ["SUCCESSFUL"]},
    {"statuses": ["SUCCESSFUL", "FAILED"]},
]
"""Filters that most requests match: their number is counted by reading the rows, which are short."""
LOOKED_FOR: list[tuple[str, dict[str, object]]] = [
    ("task_by_id", {"task_id": 7}),
    ("hosts_of_servers", {"server_ids": [7, 8]}),
    ("lock_task", {"task_id": 7}),
    ("tasks_superseded_by", {"task_ids": [7, 8]}),
    ("open_task_counts", {}),
    ("started_tasks", {}),
    ("count_tasks_with_run", {}),
    ("tasks_by_id", {"task_ids": [7, 8, 9]}),
    ("subtasks_of_tasks", {"task_ids": [7, 8, 9]}),
    ("basic_subtasks_of_tasks", {"task_ids": [7, 8, 9]}),
    ("subtask_in_task", {"subtask_id": 80, "task_id": 7}),
    ("log_rows_after", {"subtask_id": 80, "after": 0}),
    ("log_rows_of_task", {"task_id": 7}),
    ("task_names", {"text": "obproxy"}),
    ("task_host_names", {"text": "host-1"}),
    ("task_cluster_names", {"text": "test"}),
    ("task_creators", {"text": "admin"}),
    *[(query, {**PAGE, **asked}) for query in LISTS for asked in FILTERS],
    ("running_tasks", {"host_ids": [7, 8]}),
    ("hosts_with_task_change_since", {"moment": datetime(2199, 11, 29, tzinfo=UTC)}),
    ("server_by_id", {"server_id": 7}),
    ("latest_tasks_of_hosts", {"host_ids": [7, 8]}),
    ("latest_tasks_of_servers", {"server_ids": [7, 8]}),
    ("reached_hosts", {"host_ids": [7, 8]}),
    ("last_change_of_task", {"task_id": 7}),
    ("changes_of_task_after", {"task_id": 7, "after": 0, "size": 500}),
    ("count_running_tasks", {}),
    ("renew_leases", {"idents": [RUN]}),
    ("record_run_batch", {"ident": RUN, "batch": 3, "ended": False, "rc": None}),
    ("last_batch_of_run", {"ident": RUN}),
    ("task_of_run", {"ident": RUN}),
    ("run_leases", {}),
    ("lock_unfinished_runs_of_task", {"task_id": 7, **EXPIRED}),
    ("finish_runs_of_task", {"task_id": 7}),
    ("count_leased_runs_of_cluster", {"cluster_id": 1, **EXPIRED}),
    ("count_started_tasks_of_cluster", {"cluster_id": 1}),
    ("restart_requested_in_cluster", {"cluster_id": 1}),
    ("running_tasks_without_job", {}),
    ("subtask_counts_of_running_tasks", {}),
    ("run_statistics", {}),
    ("host_discoveries_without_job", {"queue": "host_discoveries"}),
    ("server_for_discovery", {"server_id": 7}),
    ("runs_of_server_since", {"server_id": 7, "began": datetime(2026, 11, 29, tzinfo=UTC)}),
    ("server_with_parameters", {"server_id": 7}),
    ("requests_by_id", {"request_ids": [7, 8]}),
    ("request_cluster_names", {"text": "test"}),
    ("request_creators", {"text": "admin"}),
    *[(query, {**REQUESTS, **asked}) for query in REQUEST_LISTS for asked in REQUEST_FILTERS],
    *[(query, {**REQUESTS, **asked}) for query in REQUEST_LISTS[:2] for asked in COMMON],
    ("host_counts_of_requests", {"request_ids": [7, 8]}),
    ("hosts_of_request", {"request_id": 7, "task_ids": None}),
    ("hosts_of_request", {"request_id": 7, "task_ids": [7]}),
    ("remove_waiting_job", {"task_id": 7}),
    ("versions_of_request", {"request_id": 7}),
    ("changes_of_request", {"request_id": 7, "task_ids": None}),
    ("passed_checks_of_request", {"request_id": 7}),
    ("lock_rollout", {"request_id": 7}),
    ("rollout_progress", {"request_id": 7, "canary": 1}),
    ("start_held_tasks", {"request_id": 7, "number": 3, "canary": 1}),
    ("hold_tasks_of_request", {"request_id": 7, "before": "ROLLOUT", "after": "MAX_FAILURES"}),
    ("accept_failures_of_request", {"request_id": 7}),
    ("requests_with_held_tasks", {}),
    ("running_tasks_of_request", {"request_id": 7}),
    ("tasks_with_run", {}),
    ("blocking_tasks", {"task_ids": [7, 8]}),
    ("held_task_counts", {}),
    ("supersede_checks", {"task_ids": [7, 8]}),
    ("copy_task_secrets", {"old": [7], "new": [8]}),
    ("append_subtask_changes", {"subtask_id": 7, "new": "[]", "limit": 9}),
    ("latest_tasks_of_hosts", {"host_ids": [1, 2]}),
]


@pytest.fixture(scope="module")
def connection(postgres: str, template_database: str) -> Iterator[psycopg.Connection]:
    """To a database with a history."""
    names = {"name": sql.Identifier("test_plans"), "template": sql.Identifier(template_database)}
    url = psycopg.conninfo.make_conninfo(postgres, dbname="test_plans")
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {name} TEMPLATE {template}").format(**names))
        history.fill(url, TASKS, hosts=HOSTS)
        with psycopg.connect(url, autocommit=True) as opened:
            yield opened
        admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))


@pytest.mark.parametrize(("query", "values"), LOOKED_FOR, ids=str)
def test_no_table_that_grows_is_read_as_a_whole(
    connection: psycopg.Connection, query: str, values: Mapping[str, object]
) -> None:
    rows = connection.execute(f"EXPLAIN {queries()[query]}".encode(), values).fetchall()
    plan = "\n".join(row[0] for row in rows)

    assert not set(re.findall(r"Seq Scan on (\w+)", plan)) & set(LARGE), plan


def test_each_foreign_key_has_an_index(connection: psycopg.Connection) -> None:
    """Without one, each row that is removed at its other end reads the whole table."""
    without = connection.execute(
        "SELECT c.conrelid::regclass::text, c.conname FROM pg_constraint c "
        "WHERE c.contype = 'f' AND c.conrelid::regclass::text NOT LIKE 'procrastinate%' AND NOT EXISTS ("
        "    SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indpred IS NULL AND i.indkey[0] = c.conkey[1])"
    ).fetchall()

    assert without == []
