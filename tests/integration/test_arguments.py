"""The check of a play's variables, before anything is read from the host."""

import subprocess
import sys
from pathlib import Path

from service.model.settings import PROJECT

DEADLINE = 120.0
INVENTORY = """
all:
  vars: {obproxy_cluster_id: 1, obproxy_cluster_name: test}
  hosts:
    odp-1:
      ansible_host: no-such-host.invalid
      ocp_host_id: 1
      obproxy_parameters: {123: x, work_thread_num: [8], proxy_mem_limited: 3G}
"""


def test_names_and_values_of_parameters_that_are_not_single_texts_are_named(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(INVENTORY)
    program = Path(sys.executable).with_name("ansible-playbook")

    done = subprocess.run(
        [program, "-i", inventory, "playbooks/takeover.yml"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )

    printed = " ".join(done.stdout.split())
    assert "obproxy_parameters has the name 123, which is no text." in printed
    assert "The value of work_thread_num in obproxy_parameters is a list or mapping." in printed
    assert "proxy_mem_limited" not in printed
