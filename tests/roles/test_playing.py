"""A forked ansible-playbook reports what the program reports."""

import json
import re

from tests.lab import Lab
from tests.lab.fixtures import StartHost

from .playing import Play, play


def test_a_forked_playbook_reports_the_same_as_the_program(lab: Lab, lab_host: StartHost) -> None:
    host = lab_host("other-password")
    forked, program = (
        play(lab, host, arguments=("--check", "--diff", "-v"), as_program=as_program) for as_program in (False, True)
    )
    assert forked.code == program.code == 2
    assert comparable(forked.text) == comparable(program.text)
    assert results(forked) == results(program)


def comparable(text: str) -> str:
    """Return a text without temporary paths, times, the free space of disks, and the place of line ends."""
    return re.sub(r"/tmp/\w+|\d{4}-\d\d-\d\d.*|\d+\.\d+s|\d{5,}|\s+", "", text)


def results(done: Play) -> list[str]:
    return [comparable(json.dumps(line | {"at": 0}, sort_keys=True)) for line in done.lines]
