"""Records for tests, with only what a test cares about spelled out."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from service.model.fleet import ObproxyServer, ServerStatus
from service.model.tasks import Operation, Subtask, SubtaskStatus, TaskInstance, TaskStatus

MOMENT = datetime(2021, 9, 3, 8, 25, 8, 4000, tzinfo=UTC)

_SUBTASK = Subtask(
    id=1,
    task_instance_id=1,
    role="prepare_obproxy_install",
    series_id=4,
    class_name="com.example.PrepareTask",
    name="Prepare obproxy install",
    description="Prepare obproxy install",
    node_type="JAVA_TASK",
    status=SubtaskStatus.PENDING,
    operation=Operation.EXECUTE,
    parallel_idx=-1,
    prohibit_rollback=False,
    run_time=1,
    timeout=300,
    executor=None,
    create_time=MOMENT,
    start_time=None,
    finish_time=None,
    upstreams=[],
    downstreams=[],
)

_TASK = TaskInstance(
    id=1,
    workflow="takeover",
    name="Install obproxy",
    type="MANUAL",
    status=TaskStatus.RUNNING,
    operation=Operation.EXECUTE,
    creator="admin",
    creator_id=100,
    executor="192.0.2.1",
    host_id=2,
    host_name="odp-2",
    obproxy_server_id=3,
    context={"listMap": {}, "stringMap": {}},
    prohibit_rollback=False,
    task_definition_id=-1,
    trace_id="0123456789abcdef",
    create_time=MOMENT,
    start_time=MOMENT,
    finish_time=None,
)

_SERVER = ObproxyServer(
    id=1,
    cluster_id=1,
    cluster_name="test",
    host_id=2,
    host_name="odp-2",
    ip="192.0.2.2",
    sql_port=2883,
    status=ServerStatus.RUNNING,
    operate_status="NORMAL",
    exporter_port=2884,
    version="1.9.1.1-1919579",
    architecture="x86_64",
    parameter_version=3,
    learned={},
    last_active_time=MOMENT,
    create_time=MOMENT,
    update_time=MOMENT,
)


def server(**fields: Any) -> ObproxyServer:
    return replace(_SERVER, **fields)


def subtask(**fields: Any) -> Subtask:
    return replace(_SUBTASK, **fields)


def task(**fields: Any) -> TaskInstance:
    return replace(_TASK, **fields)
