"""Files that are parsed before a run is forked have the content that Ansible would read."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from ansible.errors import AnsibleError, AnsibleFileNotFound
from ansible.parsing.dataloader import DataLoader

from service.inventory.parsed_files import ParsingLoader, parse_project
from service.model.settings import PROJECT

PLAYBOOKS = [path for path in sorted((PROJECT / "playbooks").glob("*.yml")) if not path.name.endswith(".meta.yml")]
LOAD = """
import sys
from pathlib import Path
from ansible import context
from ansible.parsing.dataloader import DataLoader
from ansible.playbook import Playbook
from ansible.plugins.loader import init_plugin_loader
from ansible.vars.manager import VariableManager
from service.inventory.parsed_files import ParsingLoader, parse_project

context.CLIARGS = context.CLIArgs({"check": False})
init_plugin_loader()
read = DataLoader.get_text_file_contents
for playbook in map(Path, sys.argv[1:]):
    loader = ParsingLoader()
    loader.set_basedir(str(playbook.parent))
    parse_project(loader, playbook.parents[1])
    DataLoader.get_text_file_contents = lambda self, name, *rest: print(name) or read(self, name, *rest)
    variables = VariableManager(loader=loader)
    [play, *_] = Playbook.load(str(playbook), variable_manager=variables, loader=loader).get_plays()
    print(f"{playbook.stem}: with{'' if play.compile() else 'out'} tasks")
    DataLoader.get_text_file_contents = read
"""

IN_A_FORK = """
import service.inventory.fork_server
from ansible.parsing.dataloader import DataLoader
from service.inventory.parsed_files import ParsingLoader, parse_project
from service.model.settings import PROJECT

read = DataLoader.get_text_file_contents
DataLoader.get_text_file_contents = lambda self, name, *rest: print(name) or read(self, name, *rest)
parse_project(ParsingLoader(), PROJECT)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.yml"
    path.write_text("- debug:\n    msg: '{{ before }}'\n", encoding="utf-8")
    return path


def parsed(path: Path) -> ParsingLoader:
    loader = ParsingLoader()
    loader.parse([path], trusted_as_template=True)
    return loader


def test_a_parsed_file_is_not_read_again(file: Path) -> None:
    loader = parsed(file)
    expected = DataLoader().load_from_file(str(file), trusted_as_template=True)

    with patch.object(DataLoader, "get_text_file_contents", side_effect=AssertionError("read again")):
        found = loader.load_from_file(str(file), trusted_as_template=True)

    assert found == expected
    assert type(found[0]["debug"]["msg"]) is type(expected[0]["debug"]["msg"])


def test_changes_of_a_content_do_not_reach_who_loads_the_file_again(file: Path) -> None:
    loader = parsed(file)
    loader.load_from_file(str(file), trusted_as_template=True)[0].clear()

    assert loader.load_from_file(str(file), trusted_as_template=True)[0]


def test_a_changed_file_is_read_again(file: Path) -> None:
    loader = parsed(file)
    before = file.stat()
    file.write_text("- debug:\n    msg: '{{ after_ }}'\n", encoding="utf-8")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert loader.load_from_file(str(file), trusted_as_template=True) == [{"debug": {"msg": "{{ after_ }}"}}]


def test_parsing_again_reads_only_what_has_changed(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yml"
    other.write_text("- debug:\n", encoding="utf-8")
    loader = ParsingLoader()
    loader.parse([file, other], trusted_as_template=True)
    file.write_text("- ping:\n", encoding="utf-8")
    as_usual = DataLoader.get_text_file_contents

    with patch.object(DataLoader, "get_text_file_contents", autospec=True, side_effect=as_usual) as read:
        loader.parse([file, other], trusted_as_template=True)

    assert [call.args[1] for call in read.call_args_list] == [str(file)]
    assert loader.load_from_file(str(file), trusted_as_template=True) == [{"ping": None}]


def test_a_deleted_file_is_reported_as_usual(file: Path) -> None:
    loader = parsed(file)
    file.unlink()

    with pytest.raises(AnsibleFileNotFound):
        loader.load_from_file(str(file), trusted_as_template=True)


def test_a_file_that_cannot_be_parsed_is_ignored_until_it_is_loaded(tmp_path: Path) -> None:
    broken, missing = tmp_path / "broken.yml", tmp_path / "missing.yml"
    broken.write_text("- [", encoding="utf-8")
    loader = ParsingLoader()

    loader.parse([broken, missing], trusted_as_template=True)

    with pytest.raises(AnsibleError, match="YAML parsing failed"):
        loader.load_from_file(str(broken), trusted_as_template=True)


def test_a_trusted_content_is_not_handed_out_as_an_untrusted_one(file: Path) -> None:
    loader = parsed(file)
    untrusted = loader.load_from_file(str(file))

    assert type(untrusted[0]["debug"]["msg"]) is type(DataLoader().load_from_file(str(file))[0]["debug"]["msg"])


def test_no_file_of_a_playbook_is_read_in_a_run() -> None:
    """Loads every playbook with the project's settings and lists the files that were not parsed before."""
    assert _lines(LOAD, *PLAYBOOKS) == [f"{path.stem}: with tasks" for path in PLAYBOOKS]


def test_no_file_of_the_project_is_read_in_a_fork_of_the_fork_server() -> None:
    assert _lines(IN_A_FORK) == []


def _lines(program: str, *arguments: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_no_rules_of_a_role_are_read_in_a_run() -> None:
    rules = sorted((PROJECT / "roles").glob("*/rules/*.yml"))
    loader = ParsingLoader()
    parse_project(loader, PROJECT)

    with patch.object(DataLoader, "get_text_file_contents", side_effect=AssertionError("read again")):
        found = [loader.load_from_file(str(path), trusted_as_template=True) for path in rules]

    assert found and all(found)
