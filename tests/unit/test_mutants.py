"""`make mutants`: mutations of a module, runs of its tests, and the list of equivalent mutations."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from scripts.mutants import __main__ as program
from scripts.mutants import processes, scope
from scripts.mutants.mutations import mutations

SOURCE = '''"""Limits."""

LIMIT = 200


def is_allowed(length: int) -> bool:
    """Return whether a length is within the limit."""
    if length < 0:
        raise ValueError(length)
    return length <= LIMIT


def names(texts: list[str]) -> str:
    return ", ".join(text for text in texts if text)
'''
TESTS = """
import pytest
from mutated import is_allowed, names


def test_limit():
    assert is_allowed(0) and is_allowed(200) and not is_allowed(201)
    with pytest.raises(ValueError):
        is_allowed(-1)


def test_names():
    assert names(["a", "", "b"]) == "a, b"
"""
TIME = 60.0


def changed(source: str) -> set[str]:
    """Return the lines that the mutations of a module contain instead of its own."""
    return {mutation.after for mutation in mutations(source)}


def test_mutations_are_made_of_constants_conditions_statements_and_texts() -> None:
    after = changed(SOURCE)

    assert {
        "LIMIT = 400",  # outside any function
        "if length < 1:",
        "if length <= 0:",
        "if not (length < 0):",
        "pass",
        "return length < LIMIT",
        'return "XX, XX".join(text for text in texts if text)',
        'return ", ".join(text for text in texts if not (text))',
    } <= after
    assert all("Limits." not in line and "within" not in line for line in after)  # texts for people
    assert not any("def " in line for line in after)  # annotations


def test_properties_are_mutated_and_each_mutation_has_its_line() -> None:
    source = "class A:\n    @property\n    def b(self) -> bool:\n        return self.c and self.d\n"

    assert [(made.line, made.after) for made in mutations(source)] == [
        (4, "pass"),
        (4, "return self.c or self.d"),
    ]


def module(folder: Path, *tests: str, equivalent: tuple[scope.Equivalent, ...] = ()) -> scope.Module:
    """Return the module `mutated` in a folder, with a file of tests."""
    (folder / "mutated.py").write_text(SOURCE, encoding="utf-8")
    (folder / "test_mutated.py").write_text("".join(tests), encoding="utf-8")
    return scope.Module(
        str(folder / "mutated.py"), "mutated", (folder / "test_mutated.py",), least=95, equivalent=equivalent
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(processes, "PROJECT", (*processes.PROJECT, "mutated", "test_mutated"))
    return tmp_path


def test_survivors_are_listed_and_explained_ones_are_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weak = TESTS.replace("and not is_allowed(201)", "")
    known = scope.Equivalent("return length <= LIMIT", "return length < LIMIT or True", "no such mutation")

    result = program.tested(module(folder, weak, equivalent=(known,)), at_once=2)
    program.report(result, 1)

    assert [(made.line, made.after) for made in result.survivors] == [(3, "LIMIT = 400")]
    assert result.equivalent == 0
    assert "LIMIT = 200\n    -> LIMIT = 400" in capsys.readouterr().out

    known = scope.Equivalent("LIMIT = 200", "LIMIT = 400", "for this test")
    explained = program.tested(module(folder, weak, equivalent=(known,)), at_once=2)

    assert (explained.survivors, explained.equivalent, explained.percent) == ((), 1, 100.0)


def test_tests_that_fail_without_a_mutation_end_the_program(folder: Path) -> None:
    with pytest.raises(SystemExit, match="its tests fail without a mutation"):
        program.tested(module(folder, "def test_fails(): assert False"), at_once=1)


def test_a_run_that_does_not_end_is_killed(folder: Path) -> None:
    endless = folder / "test_endless.py"
    endless.write_text("def test_endless():\n    while True: pass\n", encoding="utf-8")
    run = processes.Fork([], [str(endless)], seconds=0.5)

    deadline = time.monotonic() + TIME
    while (ended := run.poll()) is None:
        assert time.monotonic() < deadline

    assert ended.late
    assert ended.status != 0


def test_an_interrupt_ends_the_other_runs(folder: Path) -> None:
    (folder / "test_short.py").write_text("def test_short(): pass\n", encoding="utf-8")
    (folder / "test_endless.py").write_text("def test_endless():\n    while True: pass\n", encoding="utf-8")
    forks: dict[str, processes.Fork] = {}

    def start(name: str) -> processes.Fork:
        forks[name] = processes.Fork([], [str(folder / f"test_{name}.py")], TIME)
        return forks[name]

    runs = processes.each(["endless", "short"], start, at_once=2)
    assert next(runs)[0] == "short"
    runs.close()

    _, status = os.waitpid(forks["endless"].pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.mark.parametrize("path", sorted(scope.configuration()["modules"]))
def test_each_equivalent_mutation_exists_and_has_a_reason(path: str) -> None:
    (found,) = scope.modules([path])
    made = {(mutation.before, mutation.after) for mutation in mutations(found.file.read_text(encoding="utf-8"))}

    assert all(len(entry.reason.split()) >= 3 for entry in found.equivalent)
    assert {(entry.before, entry.after) for entry in found.equivalent} <= made


def test_each_module_has_tests() -> None:
    assert [module.path for module in scope.modules() if not module.tests] == []


def test_modules_are_chosen_by_path_folder_or_name() -> None:
    (verdict,) = scope.modules(["service/outcome/verdict.py"])

    assert verdict in scope.modules(["service/outcome"])
    assert scope.modules(["outcome.verdict"]) == [verdict]
    with pytest.raises(SystemExit, match=r"named nothing"):
        scope.modules(["nothing"])
