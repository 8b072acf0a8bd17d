"""The inventory plugin against a running service, used by ansible-inventory."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from service.access import access_keys
from service.model.settings import PROJECT, Settings
from service.tasks.resources import Resources
from tests.integration.command_line import serving
from tests.integration.http_helpers import take_over

DEADLINE = 60.0
PROGRAM = Path(sys.executable).with_name("ansible-inventory")
LIMIT = "OBPROXY_TAKEOVER_TIME_LIMIT"


@pytest.fixture
async def url(app: Starlette) -> AsyncIterator[str]:
    async with serving(app) as url:
        yield url


@pytest.fixture
async def managed(app: Starlette, client: httpx.AsyncClient) -> Resources:
    """Two servers that were taken over, one of them away by now, and one that is being taken over."""
    resources: Resources = app.state.resources
    await take_over(client, 1, 2, 3)
    async with resources.database.transaction() as connection:
        await connection.execute(
            "UPDATE obproxy_server SET version = '4.3.1.0-1', operate_status = 'NORMAL',"
            " status = CASE host_id WHEN 1 THEN 'RUNNING' ELSE 'UNAVAILABLE' END::server_status WHERE host_id < 3"
        )
    return resources


async def _listed(*sources: Path, **variables: str) -> tuple[dict[str, Any], str]:
    """Return the output of ansible-inventory for `sources`, and its warnings."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("OBPROXY_TAKEOVER_")}
    options = [word for source in sources for word in ("-i", str(source))]
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), *options, "--list"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**given, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", **variables},
    )
    async with asyncio.timeout(DEADLINE):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(output, object_hook=_as_text), errors.decode()


def _as_text(value: dict[str, Any]) -> Any:
    """Without the wrapper around what Ansible will not take for a template."""
    return value.get("__ansible_unsafe", value)


SAMPLE = PROJECT / "inventory" / "managed.obproxy_takeover.yml"


async def test_managed_servers_by_access_key(url: str, managed: Resources) -> None:
    key, secret = await access_keys.create(managed.database, managed.secrets, "admin")
    listed, errors = await _listed(
        SAMPLE,
        OBPROXY_TAKEOVER_URL=url,
        OBPROXY_TAKEOVER_ACCESS_KEY=key,
        OBPROXY_TAKEOVER_ACCESS_KEY_SECRET=secret.get_secret_value(),
    )
    assert errors == ""
    groups = {name: content["hosts"] for name, content in listed.items() if "hosts" in content}
    assert groups == {
        "obproxy_managed": ["odp-1", "odp-2"],
        "obproxy_cluster_test": ["odp-1", "odp-2"],
        "obproxy_status_running": ["odp-1"],
        "obproxy_status_unavailable": ["odp-2"],
        "obproxy_version_4_3_1_0_1": ["odp-1", "odp-2"],
    }
    variables = listed["_meta"]["hostvars"]["odp-1"]
    assert (variables["ansible_host"], variables["ansible_port"], variables["ocp_host_id"]) == ("192.0.2.11", 22, 1)
    (server,) = variables["obproxy_servers"]
    assert (server["cluster_name"], server["sql_port"], server["status"]) == ("test", 2883, "RUNNING")


async def test_it_adds_to_the_hosts_of_another_inventory_and_makes_groups(
    url: str, managed: Resources, settings: Settings, inventory_file: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.obproxy_takeover.yml"
    own.write_text(
        f"plugin: obproxy.takeover.obproxy_takeover\nurl: {url}\nuser: admin\n"
        f"password_file: {settings.data_dir / 'admin-password'}\n"
        "compose:\n  admin_port: obproxy_servers[0].sql_port\n"
        "groups:\n  old: obproxy_servers[0].version is version('4.4', '<')\n"
        "keyed_groups:\n  - key: obproxy_servers[0].cluster_id | string\n    prefix: number\n"
    )
    listed, errors = await _listed(inventory_file.parent, own)
    assert errors == ""
    assert sorted(listed["_meta"]["hostvars"]) == ["bastion", "odp-1", "odp-2", "odp-3"]
    assert listed["old"]["hosts"] == listed["number_1"]["hosts"] == ["odp-1", "odp-2"]
    assert listed["_meta"]["hostvars"]["odp-2"]["admin_port"] == 2883
    assert "obproxy_servers" not in listed["_meta"]["hostvars"]["odp-3"]


async def test_without_a_service_the_sample_is_empty_and_silent() -> None:
    listed, errors = await _listed(SAMPLE, ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="true")
    assert listed["_meta"]["hostvars"] == {} and errors == ""


@pytest.mark.parametrize(("secret", "expected"), [("Planted#1", "Not logged in"), ("Planted#2", "Connection refused")])
async def test_an_error_is_one_sentence_without_the_secret(url: str, secret: str, expected: str) -> None:
    asked = url if secret == "Planted#1" else "http://127.0.0.1:9"
    variables = {"OBPROXY_TAKEOVER_URL": asked, "OBPROXY_TAKEOVER_ACCESS_KEY": "x", LIMIT: "5"}
    listed, errors = await _listed(SAMPLE, OBPROXY_TAKEOVER_ACCESS_KEY_SECRET=secret, **variables)
    assert listed["_meta"]["hostvars"] == {}
    assert f"The takeover service at {asked}: " in errors and expected in errors
    assert "Planted" not in errors
