"""The check of a play's variables, before anything is read from the host."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.model.settings import PROJECT

DEADLINE = 120.0
INVENTORY = """
all:
  vars: {{obproxy_cluster_id: 1, obproxy_cluster_name: test}}
  hosts:
    odp-1:
      ansible_host: no-such-host.invalid
      ocp_host_id: 1
      obproxy_parameters: {parameters}
"""


def play(directory: Path, parameters: str) -> str:
    """Return the output of a takeover with these `obproxy_parameters`."""
    inventory = directory / "inventory.yml"
    inventory.write_text(INVENTORY.format(parameters=parameters))
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, "-i", inventory, "playbooks/takeover.yml"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    return " ".join(done.stdout.split())


def test_names_and_values_of_parameters_that_are_not_single_texts_are_named(tmp_path: Path) -> None:
    printed = play(tmp_path, "{123: x, work_thread_num: [8], proxy_mem_limited: 3G}")

    assert "obproxy_parameters has the name 123, which is no text." in printed
    assert "The value of work_thread_num in obproxy_parameters is a list or mapping." in printed
    assert "proxy_mem_limited" not in printed


@pytest.mark.parametrize("parameters", ["null", """'{"work_thread_num": 8}'"""])
def test_other_values_that_ansible_takes_for_a_mapping_are_accepted(tmp_path: Path, parameters: str) -> None:
    assert "Could not resolve hostname" in play(tmp_path, parameters), "the arguments were accepted"
