"""A history to look things up in: task instances that have ended, as many as wanted, written by SQL in one go.

Texts are as long as those of a takeover of a lab host (docs/operations.md).
"""

from typing import Any

import psycopg

from service.model.settings import PROJECT
from service.model.workflow import TAKEOVER, load

LOG = (6, 128)  # rows of a subtask, characters of each

_SERVERS = """
INSERT INTO obproxy_server (cluster_id, cluster_name, host_id, host_name, ip, sql_port, status, operate_status)
SELECT 1, 'test', h, 'host-' || h, '192.0.2.1', 2883, 'RUNNING', 'NORMAL' FROM generate_series(1, %(hosts)s) h
"""
_REQUESTS = """
INSERT INTO request (workflow, cluster_id, cluster_name, creator, creator_id)
SELECT 'takeover', 1, 'test', 'admin', 100 FROM generate_series(1, %(count)s)
"""
_TASKS = """
INSERT INTO task_instance (name, status, creator, creator_id, executor, host_id, host_name, obproxy_server_id, context,
                           trace_id, create_time, start_time, finish_time, request_id, position)
SELECT 'Install obproxy', CASE WHEN n %% 50 = 0 THEN 'FAILED' ELSE 'SUCCESSFUL' END::task_status, 'admin', 100,
       '192.0.2.2', 1 + n %% %(hosts)s, 'host-' || (1 + n %% %(hosts)s), s.id, %(context)s, '0123456789abcdef',
       moment, moment, moment + interval '4 s', n, 1
FROM generate_series(1, %(count)s) n
CROSS JOIN LATERAL (SELECT now() - (%(count)s - n) * interval '30 s' AS moment) AS times
JOIN obproxy_server s ON s.host_id = 1 + n %% %(hosts)s
ORDER BY n
"""
_SUBTASKS = """
INSERT INTO subtask_instance (task_instance_id, role, series_id, class_name, name, description, status,
                              prohibit_rollback, timeout, executor, create_time, start_time, finish_time)
SELECT t.id, s.role, s.series_id, s.class_name, s.name, s.name, 'SUCCESSFUL', false, 300, t.executor, t.create_time,
       t.start_time, t.finish_time
FROM task_instance t
CROSS JOIN unnest(%(roles)s::text[], %(series)s::integer[], %(classes)s::text[], %(names)s::text[])
     WITH ORDINALITY AS s (role, series_id, class_name, name, position)
ORDER BY t.id, s.position
"""
_DEPENDENCIES = """
INSERT INTO subtask_dependency (upstream_id, downstream_id)
SELECT id - 1, id FROM subtask_instance s
WHERE EXISTS (SELECT FROM subtask_instance u WHERE u.id = s.id - 1 AND u.task_instance_id = s.task_instance_id)
"""
_LOG = """
INSERT INTO subtask_log (subtask_id, run_time, content)
SELECT s.id, 1, repeat(md5(s.id::text), %(length)s / 32)
FROM subtask_instance s CROSS JOIN generate_series(1, %(rows)s) ORDER BY s.id
"""
_RUNS = """
INSERT INTO run (ident, task_instance_id, executor, start_time, finish_time, rc, batch)
SELECT gen_random_uuid(), id, executor, start_time, finish_time, 0, 40 FROM task_instance
"""
_CONTEXT = (
    '{"listMap": {"commands_to_check": ["nc"], "process_keywords": ["obproxy", "obproxyd.sh"]}, "stringMap": '
    '{"host_id": "1", "obproxy_cluster_id": "1", "obproxy_cluster_name": "test", "obproxy_install_path": '
    '"/opt/taobao/install/obproxy-4.3.1.0", "package_name": "obproxy", "package_version": "4.3.1.0-1", '
    '"prohibit_rollback": "false", "task_instance_id": "1", "latest_execution_start_time": "2026-11-23T16:11:19Z"}}'
)


def fill(url: str, count: int, *, hosts: int, log: bool = True) -> None:
    """Insert `count` task instances of `hosts` hosts into a migrated database; with `log`, also their logs.

    Statistics and visibility are then as autovacuum leaves them.
    """
    subtasks = load(PROJECT)[TAKEOVER].subtasks
    values: dict[str, Any] = {
        "count": count,
        "hosts": hosts,
        "context": _CONTEXT,
        "roles": [subtask.role for subtask in subtasks],
        "series": [subtask.series_id for subtask in subtasks],
        "classes": [subtask.class_name for subtask in subtasks],
        "names": [subtask.name for subtask in subtasks],
        "rows": LOG[0],
        "length": LOG[1],
    }
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (_SERVERS, _REQUESTS, _TASKS, _SUBTASKS, _DEPENDENCIES, *([_LOG] if log else []), _RUNS):
            connection.execute(statement.encode(), values)
        connection.execute("VACUUM ANALYZE")
