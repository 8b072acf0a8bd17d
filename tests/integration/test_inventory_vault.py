"""Inventories in which Ansible Vault has encrypted single values or whole files, and values marked as unsafe."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.inventory.reader import InventoryReader, read
from service.model.errors import InventoryUnreadable
from service.outcome.masking import MASK
from tests import vault

PASSWORD = "opens the vault"
HOSTS = """
all:
  hosts:
    odp-1: {ocp_host_id: 1, braces: !unsafe "{{ 1 }}", list: [!unsafe "{% x %}"], template: "{{ 1 }}"}
  children:
    test: {hosts: {odp-1: {}}}
"""


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "vault-password"
    path.write_text(PASSWORD)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write an inventory with an encrypted value and an encrypted file."""
    source = tmp_path / "inventory"
    (source / "group_vars" / "test").mkdir(parents=True)
    (source / "hosts.yml").write_text(HOSTS)
    value = vault.encrypted_value(PASSWORD, "obproxy_sys_password", "Inline#1")
    other = vault.encrypted_value(PASSWORD, "whatever_its_name", "Other#1")
    (source / "group_vars" / "test" / "main.yml").write_text(f"obproxy_cluster_id: 1\n{value}\n{other}\n")
    whole = vault.encrypted(PASSWORD, "obproxy_proxyro_password: File#1\n")
    (source / "group_vars" / "test" / "vault.yml").write_text(whole)
    return source


def as_file(directory: Path) -> Path:
    path = directory / "held"
    path.write_text(PASSWORD)
    return path


def as_program(directory: Path) -> Path:
    path = directory / "says.sh"
    path.write_text(f"#!/bin/sh\necho '{PASSWORD}'\n")
    path.chmod(0o700)
    return path


def as_client(directory: Path) -> Path:
    """Make a client script, as Ansible calls it: its name ends in -client, and it gets the vault's id."""
    path = directory / "keyring-client.sh"
    path.write_text(f'#!/bin/sh\n[ "$1 $2" = "--vault-id default" ] && echo "{PASSWORD}"\n')
    path.chmod(0o700)
    return path


@pytest.mark.parametrize("opener", [as_file, as_program, as_client])
async def test_opens_single_values_and_whole_files(
    source: Path, tmp_path: Path, opener: Callable[[Path], Path]
) -> None:
    found = await read(source, opener(tmp_path))

    hide = await found.mask(found.clusters[1], found.hosts[1])
    assert hide("Inline#1, File#1, Other#1 and the rest") == f"{MASK}, {MASK}, {MASK} and the rest"


async def test_the_service_process_gets_no_secret(source: Path, password_file: Path) -> None:
    """Nothing of what it knows of hosts and clusters, and nothing that it hands to a run, holds one."""
    found = await read(source, password_file)

    hosts = [dict(host.variables) for host in found.hosts.values()]
    told = repr([*hosts, *(dict(cluster.variables) for cluster in found.clusters.values())])
    assert "obproxy_cluster_id" in told
    assert "#1" not in told and "password" not in told


@pytest.mark.parametrize("whole", [True, False], ids=["a file", "a value"])
async def test_a_missing_password_names_the_setting(source: Path, whole: bool) -> None:
    (source / "group_vars" / "test" / ("main.yml" if whole else "vault.yml")).unlink()

    with pytest.raises(InventoryUnreadable, match="no vault secrets found; set TAKEOVER_VAULT_PASSWORD_FILE"):
        await read(source)


@pytest.mark.parametrize("whole", [True, False], ids=["a file", "a value"])
async def test_a_wrong_password_is_reported_but_not_shown(source: Path, tmp_path: Path, whole: bool) -> None:
    (source / "group_vars" / "test" / ("main.yml" if whole else "vault.yml")).unlink()
    wrong = tmp_path / "wrong"
    wrong.write_text("another password")

    with pytest.raises(InventoryUnreadable, match="no vault secrets were found that could decrypt") as refusal:
        await read(source, wrong)

    assert "another password" not in str(refusal.value)


async def test_a_new_password_causes_a_new_reading(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("not yet")
    reader = InventoryReader(source, file)
    with pytest.raises(InventoryUnreadable):
        await reader.current()

    file.write_text(PASSWORD)

    assert set((await reader.current()).clusters) == {1}
