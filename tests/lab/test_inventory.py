"""Inventories that Ansible resolves in its own way: the real connection of a takeover is the one that Ansible has."""

import shutil
import time
from pathlib import Path
from typing import Any

import yaml

from service.cli.client import Client
from service.cli.transport import Document
from tests.integration.inventories import write

from . import Lab
from .fixtures import StartHost
from .host import LabHost
from .service import running

DEADLINE = 120.0  # seconds a takeover may take at the most


def taken_over(client: Client, host: LabHost) -> Document:
    """Return the final document of a takeover."""
    (accepted,) = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
    deadline = time.monotonic() + DEADLINE
    for (document,) in client.watch([accepted["id"]]):
        assert time.monotonic() < deadline, document
    return document


def test_a_host_whose_inventory_forbids_a_restart_is_not_restarted(
    lab: Lab, lab_host: StartHost, tmp_path: Path
) -> None:
    """Its cluster permits it, and so do the other hosts: a host's value is over its group's."""
    forbids, says_nothing = lab_host("restart-needed"), lab_host("restart-needed")
    tree: dict[str, Any] = yaml.safe_load((lab.inventory / "hosts.yml").read_text(encoding="utf-8"))
    cluster = next(group for group in tree["all"]["children"].values() if forbids.name in group["hosts"])
    cluster["vars"]["obproxy_allow_restart"] = True
    tree["all"]["hosts"][forbids.name]["obproxy_allow_restart"] = False
    write(tmp_path / "inventory" / "hosts.yml", tree)
    before = [host.proxy_pid() for host in (forbids, says_nothing)]

    with running(tmp_path, tmp_path / "inventory", forked=True) as service, service.client() as client:
        documents = [taken_over(client, host) for host in (forbids, says_nothing)]
        failed = next(subtask for subtask in documents[0]["subtasks"] if subtask["status"] == "FAILED")
        log = client.log(documents[0]["id"], failed["id"])

    assert [document["status"] for document in documents] == ["FAILED", "SUCCESSFUL"], log
    assert "work_thread_num is '4', desired is '8'" in log, log
    assert forbids.proxy_pid() == before[0] and says_nothing.proxy_pid() != before[1]


def test_a_takeover_connects_as_ansible_resolves_it(lab: Lab, lab_host: StartHost, tmp_path: Path) -> None:
    """The wrong user in a group above, a templated address, a key beside the inventory, and a jump host."""
    bastion, host = lab_host(), lab_host()
    tree: dict[str, Any] = yaml.safe_load((lab.inventory / "hosts.yml").read_text(encoding="utf-8"))
    everybody = tree["all"]["vars"]
    known_hosts = everybody["ansible_ssh_common_args"]
    (tmp_path / "keys").mkdir()
    key = shutil.copy(everybody["ansible_ssh_private_key_file"], tmp_path / "keys" / "id")
    Path(key).chmod(0o600)
    network, _, last = host.address.rpartition(".")
    proxy = f"ssh -i {key} {known_hosts} -W %h:%p ops@{{{{ hostvars['{bastion.name}'].ansible_host }}}}"
    everybody |= {"ansible_user": "nobody-such", "net": network}
    everybody["ansible_ssh_private_key_file"] = "{{ inventory_dir }}/../keys/id"
    tree["all"]["hosts"] = {
        bastion.name: {"ansible_host": bastion.address},
        host.name: {
            "ocp_host_id": host.host_id,
            "ansible_host": "{{ net }}.{{ groups['all'].index(inventory_hostname) + " + f"{int(last) - 1}" + " }}",
            "ansible_user": "ops",
            "ansible_ssh_common_args": f'{known_hosts} -o ProxyCommand="{proxy}"',
        },
    }
    for group in tree["all"]["children"].values():
        group["hosts"] = {name: {} for name in group["hosts"] if name == host.name}
    write(tmp_path / "inventory" / "hosts.yml", tree)

    with running(tmp_path, tmp_path / "inventory", forked=True) as service, service.client() as client:
        (known,) = [known for known in client.hosts()["contents"] if known["id"] == host.host_id]
        document = taken_over(client, host)

    assert known["innerIpAddress"] == host.address
    assert document["status"] == "SUCCESSFUL", service.log.read_text(encoding="utf-8")
