"""Checks the prose linter, and the Markdown files with it."""

import re

import pytest

from scripts.prose import LONGEST_SENTENCE, ROOT, main, problems, terms

TERMS = {"greeting": "SQL handshake probe", "dead worker": "worker considered dead"}


def found(text: str) -> list[tuple[int, str]]:
    return list(problems(text, TERMS))


def test_the_markdown_files_keep_to_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().out


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
