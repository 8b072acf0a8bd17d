"""`make mutants`: mutations of a module, runs of its tests, and the list of equivalent mutations."""

import signal
import sys
import time
from pathlib import Path

import pytest

from scripts.mutants import __main__ as program
from scripts.mutants import processes, scope, session
from scripts.mutants.mutations import mutations, uncompiled
from scripts.mutants.sql import Variant, variants

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
TEST_FILES = ("test_mutated", "test_single", "test_double")
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
    assert changed('__all__ = ["a"]\n__all__ += ["b"]\n') == set()  # type checkers know its names


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
        str(folder / "mutated.py"), ("mutated",), (folder / "test_mutated.py",), least=95, equivalent=equivalent
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(processes, "PROJECT", (*processes.PROJECT, "mutated", *TEST_FILES))
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


def test_a_mutation_of_a_function_that_no_test_calls_survives(folder: Path) -> None:
    uncalled = TESTS.partition("def test_names")[0]

    result = program.tested(module(folder, uncalled), at_once=2)

    assert {made.line for made in result.survivors} == {14}


def test_progress_is_shown_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "INTERVAL", 0.0)

    program.Progress("service/a.py", 3).one_more()

    assert capsys.readouterr().err == "service/a.py: 1 of 3\n"


def test_tests_that_fail_without_a_mutation_end_the_program(folder: Path) -> None:
    with pytest.raises(SystemExit, match="its tests fail without a mutation"):
        program.tested(module(folder, "def test_fails(): assert False"), at_once=1)


@pytest.mark.parametrize("waits", [True, False])
def test_a_mutation_that_does_not_end_is_killed(folder: Path, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "START", 1.0)
    wait = "time.sleep(1000)" if waits else "pass"
    endless = f"import time\nfrom mutated import names\n\ndef test_endless():\n    while names(['a']) != 'a': {wait}\n"
    found = module(folder, endless)
    (removed,) = [one for one in found.mutations() if one.line == 14 and one.after == "pass"]

    _, end = session.run(found.subject(), [str(found.tests[0])], [removed], at_once=1)

    assert isinstance(end, tuple)
    assert end[0] == removed
    assert end[1] < 0


def test_a_constant_counts_where_it_is_imported_and_where_it_is_used_at_the_import(folder: Path) -> None:
    """Not only in its own module: `DOUBLE` is computed at the import, and the test has imported `SINGLE`."""
    (folder / "mutated.py").write_text("SINGLE = 300\nDOUBLE = 2 * SINGLE\n", encoding="utf-8")
    tests = "import mutated\nfrom mutated import SINGLE\n\ndef test_{}(): assert {} == {}\n"
    (folder / "test_single.py").write_text(tests.format("single", "SINGLE", 300), encoding="utf-8")
    (folder / "test_double.py").write_text(tests.format("double", "mutated.DOUBLE", 600), encoding="utf-8")

    def survivors(test: str) -> list[str]:
        found = scope.Module(str(folder / "mutated.py"), ("mutated",), (folder / test,), least=95, equivalent=())
        return [mutation.after for mutation in program.tested(found, at_once=2).survivors]

    assert survivors("test_double.py") == []
    assert "SINGLE = 600" not in survivors("test_single.py")


def test_tests_of_the_changed_line_run_first(folder: Path) -> None:
    found = module(folder, TESTS)
    profile, *_ = session.run(found.subject(), [str(found.tests[0])], [], at_once=1)
    assert isinstance(profile, session.Profile)

    def order(line: int) -> list[str]:
        changed = next(one for one in found.mutations() if one.line == line)
        return [name.rpartition("::")[2] for name in profile.order(found.subject(), changed)]

    assert order(14) == ["test_names"]
    assert order(10) == ["test_limit"]
    assert set(order(3)) == {"test_limit", "test_names"}


def test_an_interrupt_ends_the_other_runs() -> None:
    forks: dict[str, processes.Fork] = {}

    def start(name: str) -> processes.Fork:
        def work() -> int:
            time.sleep(TIME if name == "endless" else 0)
            return 0

        forks[name] = processes.Fork(work, 2 * TIME)
        return forks[name]

    runs = processes.each(["endless", "short"], start, at_once=2)
    assert next(runs)[0] == "short"
    runs.close()

    assert forks["endless"].wait().status == -signal.SIGKILL


QUERIES = """-- name: first
-- A comment with WHERE a AND b.
SELECT DISTINCT a FROM t LEFT JOIN u ON u.id = t.id
WHERE (t.a = 'x AND y' OR t.b IS NOT DISTINCT FROM %(b)s) AND t.c > 1
ORDER BY t.a, t.b DESC LIMIT 3 FOR UPDATE SKIP LOCKED;

-- part: both
WHERE a = 1

-- name: second
SELECT count(*) FILTER (WHERE b) FROM t
-- include: both
;
"""


def test_queries_lose_conditions_orders_limits_and_locks(tmp_path: Path) -> None:
    file = tmp_path / "some.sql"
    file.write_text(QUERIES, encoding="utf-8")

    made = variants(file)

    assert [(variant.line, variant.after) for variant in made] == [
        (3, "SELECT  a FROM t LEFT JOIN u ON u.id = t.id"),
        (3, "SELECT DISTINCT a FROM t  JOIN u ON u.id = t.id"),
        (3, "SELECT DISTINCT a FROM t LEFT JOIN u ON true"),
        (4, "WHERE true AND t.c > 1"),
        (4, "WHERE (false OR t.b IS NOT DISTINCT FROM %(b)s) AND t.c > 1"),
        (4, "WHERE (t.a = 'x AND y' OR false) AND t.c > 1"),
        (4, "WHERE (t.a = 'x AND y' OR t.b IS NOT DISTINCT FROM %(b)s) AND true"),
        (5, "ORDER BY t.a DESC, t.b DESC LIMIT 3 FOR UPDATE SKIP LOCKED;"),
        (5, "ORDER BY t.a, t.b  LIMIT 3 FOR UPDATE SKIP LOCKED;"),
        (5, "ORDER BY t.a, t.b DESC  FOR UPDATE SKIP LOCKED;"),
        (5, "ORDER BY t.a, t.b DESC LIMIT 3 ;"),
        (5, "ORDER BY t.a, t.b DESC LIMIT 3 FOR UPDATE ;"),
        (8, "WHERE true"),
        (11, "SELECT count(*) FILTER (WHERE true) FROM t"),
    ]
    assert [set(variant.queries) for variant in made if isinstance(variant, Variant)] == 12 * [{"first"}] + 2 * [
        {"second"}
    ]


@pytest.mark.parametrize("path", sorted(scope.configuration()["modules"]))
def test_each_equivalent_mutation_exists_and_has_a_reason(path: str) -> None:
    (found,) = scope.modules([path])
    every = uncompiled(found.file.read_text(encoding="utf-8")) if path.endswith(".py") else found.mutations()
    made = {(mutation.before, mutation.after) for mutation in every}

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
