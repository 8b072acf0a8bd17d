"""Checks the prose linter, and with it the Markdown files and the docstrings."""

import re
from pathlib import Path

import pytest

from scripts.prose import FILES, LONGEST_SENTENCE, ROOT, comment_problems, docstring_problems, main, problems, terms

TERMS = {"greeting": "SQL handshake probe", "dead worker": "worker considered dead"}


def found(text: str) -> list[tuple[int, str]]:
    return list(problems(text, TERMS))


def test_the_program_prints_problems_by_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`make lint` runs it on all files of the repository, of which these are two."""
    assert main(["CONTRIBUTING.md", "scripts/prose.py"]) == 0, capsys.readouterr().out

    (tmp_path / "bad.md").write_text("# Title\n\nA greeting.\n", encoding="utf-8")
    assert main([str(tmp_path / "bad.md")]) == 1
    assert f"{tmp_path}/bad.md:3: " in capsys.readouterr().out


def test_terms_come_from_the_document() -> None:
    rows = "| avoid | write |\n|---|---|\n| `greeting`, `dead worker` | this |\n"
    document = f"## English\n\n### Terms to avoid\n\n{rows}\n## Next\n"
    assert terms(document) == {"greeting": "this", "dead worker": "this"}
    assert len(terms((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))) > 20


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("One.\nA Greeting here.", 2, "write SQL handshake probe"),
        ("A dead\nworker.", 1, "write worker considered dead"),
        ("| a | the greeting |", 1, "write SQL handshake probe"),
        ("## What then", 1, "does not name a task or a topic"),
        ("## Ready?", 1, "does not name a task or a topic"),
        ("Text.\n\nGood. What others have written stays.", 3, "relative clause"),
        ("- item\n- Whoever can write to it is trusted.", 2, "relative clause"),
        ("| Who asks signs with a key |", 1, "relative clause"),
        ("Those who write to it are trusted.", 1, "relative clause"),
        ("Good. That which others have written stays.", 1, "relative clause"),
        ("Too " + "long " * LONGEST_SENTENCE + "indeed.", 1, f"sentence of {LONGEST_SENTENCE + 2} words"),
    ],
)
def test_a_broken_rule_is_found(text: str, line: int, words: str) -> None:
    ((at, problem),) = found(text)
    assert at == line
    assert re.search(words, problem)


@pytest.mark.parametrize(
    "text",
    [
        "```\nthe greeting\n```",
        "`greeting` [text](greeting.md) <!-- greeting -->",
        "<!-- variables: written -->\n| greeting |\n<!-- end of variables -->",
        "Greetings are fine.",
        "What does it cost? Nothing.",
        "## Retry a failed takeover",
        "Short. " * (LONGEST_SENTENCE + 2),
    ],
)
def test_code_and_good_prose_pass(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("term", terms((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
def test_each_term_of_the_table_is_found(term: str) -> None:
    avoided = terms((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert any(problem.startswith(f'"{term}"') for _, problem in problems(f"A sentence with {term} in it.", avoided))


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ('"""What a module does."""', 1, 'starts with "What"'),
        ('class A:\n    """Those of a run."""', 2, 'starts with "Those"'),
        ('def a() -> int:\n    """How many there are."""', 2, 'starts with "How"'),
        ('async def a() -> None:\n    """Return.\n\n    The greeting.\n    """', 4, "write SQL handshake probe"),
        ('"""Good. Whoever comes is served."""', 1, "relative clause"),
        ('"""Too ' + "long " * LONGEST_SENTENCE + 'indeed."""', 1, f"sentence of {LONGEST_SENTENCE + 2} words"),
    ],
)
def test_a_broken_rule_in_a_docstring_is_found(source: str, line: int, words: str) -> None:
    ((at, problem),) = docstring_problems(source, TERMS)
    assert at == line
    assert re.search(words, problem)


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("a = 1\n\n# The\n# greeting.\n", 4, "write SQL handshake probe"),
        ("# Good.\na = 1  # a greeting\n", 2, "write SQL handshake probe"),
        ("if a:\n    # What others have written stays.\n    b()\n", 2, "relative clause"),
        ("# " + "long " * LONGEST_SENTENCE + "indeed.\n", 1, f"sentence of {LONGEST_SENTENCE + 1} words"),
    ],
)
def test_a_broken_rule_in_a_comment_is_found(source: str, line: int, words: str) -> None:
    ((at, problem),) = comment_problems(source, TERMS)
    assert at == line
    assert re.search(words, problem)


def test_comments_of_consecutive_lines_of_code_are_separate() -> None:
    long = "long " * (LONGEST_SENTENCE - 2)
    source = f"#!/usr/bin/env greeting\na = 1  # {long}\nb = 1  # {long}\n# {long}\nc = 'greeting'  # noqa: greeting\n"
    assert list(comment_problems(source, TERMS)) == []


def test_strings_and_good_docstrings_pass() -> None:
    source = (
        '"""Greets callers."""\n# the greeting\nTEXT = "the greeting"\n\n\ndef a() -> None:\n    """Return it."""\n'
    )
    assert list(docstring_problems(source, TERMS)) == []
    assert [line for line, _ in comment_problems(source, TERMS)] == [2]


def test_a_python_file_is_checked_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Whether it works."""\n')
    assert main([str(module)]) == 1
    assert 'starts with "Whether"' in capsys.readouterr().out


def test_each_pattern_of_checked_files_matches() -> None:
    assert [pattern for pattern in FILES if not any(ROOT.rglob(pattern.rpartition("/")[2]))] == []
