"""Lag from a host to the page: a takeover with an additional subtask that prints the host's time 50 times."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from service.model.settings import PROJECT
from tests.browser.lag import lag_is_small
from tests.browser.visitor import Visitor
from tests.lab import HostSpec, Lab
from tests.lab.service import PROGRAM, Service, running

LINES = 50
END = 120_000  # milliseconds that the takeover may take

SUBTASK = """\
name: Print the time
class_name: PrintTime
series_id: 99
timeout: 0
prohibit_rollback: false
"""
ROLE = f"""\
- name: Print the time
  ansible.builtin.raw: date +%s%3N
  loop: "{{{{ range({LINES}) | list }}}}"
  loop_control:
    label: "{{{{ said.stdout | default('') | trim }}}}"
  register: said
  changed_when: false
"""
IMPORT = """\
    - name: Print the time
      ansible.builtin.import_role:
        name: print_time
        rolespec_validate: false
      tags: print_time
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy this project and add a thirteenth subtask as described in CONTRIBUTING.md."""
    # ansible.cfg needs the layout of installed collections.
    directory = tmp_path_factory.mktemp("project") / "ansible_collections" / "obproxy" / "takeover"
    for tree in ("service", "meta", "playbooks", "plugins", "roles"):
        shutil.copytree(PROJECT / tree, directory / tree, ignore=shutil.ignore_patterns("__pycache__", "molecule"))
    shutil.copy(PROJECT / "ansible.cfg", directory)
    for name, text in (("meta/subtask.yml", SUBTASK), ("tasks/main.yml", ROLE)):
        file = directory / "roles" / "print_time" / name
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
    playbook = directory / "playbooks" / "takeover.yml"
    tasks, post_tasks, rest = playbook.read_text(encoding="utf-8").partition("  post_tasks:\n")
    assert post_tasks
    playbook.write_text(tasks + IMPORT + post_tasks + rest, encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def service(lab: Lab, project: Path) -> Iterator[Service]:
    """Start a service of that project."""
    directory = lab.directory / "lag"
    directory.mkdir()
    with running(directory, lab.inventory, program=("env", f"--chdir={project}", *PROGRAM)) as started:
        yield started


def test_output_of_a_host_is_shown_with_small_lag(visitor: Visitor, lab: Lab, service: Service) -> None:
    [host] = lab.start_many([HostSpec("lag-1", 7200, "running")])
    with service.client() as client:
        [document] = client.take_over(1, [{"hostId": host.host_id, "sqlPort": host.sql_port}])
    page = visitor.open(f"/tasks/{document['id']}?subtask={document['subtasks'][-1]['id']}")
    expect(page.locator("#log-card h2")).to_have_text("Print the time")
    visitor.record_lines()
    expect(page.locator("#task-header .heading .badge")).to_have_text("Completed", timeout=END)
    host.remove()

    lines = [(int(said[1]), at) for text, at in visitor.recorded_lines() if (said := re.search(r"item=(\d{13})", text))]
    assert len(lines) == LINES
    assert lag_is_small(lines)
