"""Clients that independent generators make from the OpenAPI document take a lab host over.

The generators are openapi-generator for Python and Hey API for TypeScript.
"""

import importlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.model.settings import PROJECT

from .fixtures import StartHost
from .host import LabHost
from .service import Service

DOCUMENT = PROJECT / "docs" / "openapi.json"
TOOLS = PROJECT / ".config" / "openapi" / "node_modules"
TYPESCRIPT_TAKEOVER = Path(__file__).with_name("generated_client.ts")
BIN = Path(sys.executable).parent
DEADLINE = 120.0  # seconds of one program, and between two events
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}


def run(*command: str | Path, **environment: str) -> str:
    """Run a program of the environment and return its output."""
    done = subprocess.run(
        command,
        cwd=PROJECT,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def python_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield the package `takeover_client`, generated for this test."""
    generator = BIN / "openapi-generator-cli"
    run(generator, "generate", "-i", DOCUMENT, "-g", "python", "-o", tmp_path, "--package-name", "takeover_client")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("takeover_client")
    for name in [name for name in sys.modules if name.partition(".")[0] == "takeover_client"]:
        del sys.modules[name]


@pytest.fixture
def typescript_client(tmp_path: Path) -> Path:
    """Return a directory with a generated client, the program that uses it, and the settings of the compiler."""
    run("make", TOOLS.relative_to(PROJECT))
    run(TOOLS / ".bin" / "openapi-ts", "-i", DOCUMENT, "-o", tmp_path / "client", "-c", "@hey-api/client-fetch")
    (tmp_path / "takeover.ts").write_text(TYPESCRIPT_TAKEOVER.read_text(encoding="utf-8"), encoding="utf-8")
    options = {
        "strict": True,
        "esModuleInterop": True,
        "module": "commonjs",
        "target": "es2022",
        "outDir": "compiled",
        "skipLibCheck": True,
        "types": ["node"],
        "typeRoots": [str(TOOLS / "@types")],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["takeover.ts"]}))
    return tmp_path


def followed(stream: Any) -> tuple[list[str], dict[str, Any]]:
    """Return the statuses that an event stream showed, and the last document."""
    statuses: list[str] = []
    document: dict[str, Any] = {}
    event = ""
    for line in io.TextIOWrapper(stream, encoding="utf-8"):
        name, _, value = line.strip().partition(": ")
        if name == "event":
            event = value
        if name == "data" and event == "task":
            document = json.loads(value)
            statuses.append(document["status"])
            if document["status"] != "RUNNING":
                break
    return statuses, document


def test_a_generated_python_client_takes_a_host_over(python_client: Any, service: Service, lab_host: StartHost) -> None:
    host = lab_host()
    settings = python_client.Configuration(host=service.url, username="admin", password=service.password)
    with python_client.ApiClient(settings) as connection:
        obproxy, tasks = python_client.ObproxyApi(connection), python_client.TasksApi(connection)
        events = python_client.EventsApi(connection)
        clusters = obproxy.list_clusters().data.contents
        body = python_client.TakeOverParam(
            hosts=[python_client.ObproxyTakeOverParam(host_id=host.host_id, sql_port=host.sql_port)]
        )
        (submitted,) = obproxy.take_over(clusters[0].id, body).data.contents
        response = events.follow_task_instance_without_preload_content(submitted.id, _request_timeout=DEADLINE)
        statuses, document = followed(response)
        response.close()
        finished = tasks.get_task_instance(submitted.id).data
        log = tasks.get_subtask_log(submitted.id, finished.subtasks[0].id).data
        diagnosis = zipfile.ZipFile(io.BytesIO(tasks.download_diagnosis(submitted.id)))
        with pytest.raises(python_client.exceptions.NotFoundException) as unknown:
            tasks.get_task_instance(2**62)

    assert statuses[-1] == finished.status == "SUCCESSFUL"
    assert len(document["subtasks"]) == len(finished.subtasks) == 12
    assert "TASK" in log.log
    assert diagnosis.namelist()
    assert unknown.value.data.error.code == 4001


def test_a_generated_typescript_client_takes_a_host_over(
    typescript_client: Path, service: Service, lab_host: StartHost
) -> None:
    host: LabHost = lab_host()
    run(TOOLS / ".bin" / "tsc", "--project", typescript_client)

    output = run(
        "node",
        typescript_client / "compiled" / "takeover.js",
        URL=service.url,
        PASSWORD=service.password,
        HOST_ID=str(host.host_id),
        SQL_PORT=str(host.sql_port),
    )

    found = json.loads(output)
    assert found["statuses"][-1] == found["status"] == "SUCCESSFUL"
    assert found["subtasks"] == 12
    assert "TASK" in found["log"]
    assert zipfile.is_zipfile(io.BytesIO(bytes.fromhex(found["diagnosis"])))
    assert found["unknown"] == 4001
