"""Checks the English of Markdown files and of Python docstrings and comments: `python -m scripts.prose [FILE …]`.

CONTRIBUTING.md, section English, has the rules and the table of terms; this module reads the table there. Code, the
targets of links and generated tables are not read. Without arguments, the check covers the files that match `FILES`.
"""

import ast
import functools
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = ("*.md", "*.py")
LONGEST_SENTENCE = 30  # words; the aim is 25

_NOT_PROSE = re.compile(
    r"^[ \t]*```.*?^[ \t]*```|<!-- variables.*?<!-- end[^>]*>|<!--.*?-->|`[^`]*`|(?<=\])\([^)]*\)|<https?:[^>]*>",
    re.MULTILINE | re.DOTALL,
)
_OPENING = re.compile(r"(?:What|Who|Whom|Whose|Whoever|Whatever|Which|Whether|Those|How|Why|Where|That)\b")
_CLAUSE = re.compile(r"(?:What|Who|Whose|Whoever|Whatever|(?:That|Those|He|She|The one) (?:which|who|that))\b[^?]*$")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_DIRECTIVE = re.compile(r"#(?:!| noqa\b| type:|:)")
_TERM_ROW = re.compile(r"^\| ((?:`[^`]+`(?:, )?)+) \| (.+?) \|$", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?:;])\s+(?=[A-Z0-9`(*\[])")


def terms(contributing: str) -> Mapping[str, str]:
    """Return what to write instead of each term to avoid, from the text of CONTRIBUTING.md."""
    section = re.search(r"^### Terms to avoid$(.*?)(?=^##|\Z)", contributing, re.MULTILINE | re.DOTALL)
    rows = _TERM_ROW.findall(section[1]) if section else []
    return {term: instead for avoided, instead in rows for term in re.findall(r"`([^`]+)`", avoided)}


def problems(text: str, avoided: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield line number and description of each place that breaks a rule."""
    prose = _NOT_PROSE.sub(lambda match: "`" + "\n" * match[0].count("\n") + "`", text)
    for term, instead in avoided.items():
        for match in _pattern(term).finditer(prose):
            yield _line(prose, match.start()), f'"{match[0]}": write {instead}'
    for start, block in _blocks(prose):
        if block.startswith("#"):
            if _OPENING.match(block.lstrip("# ")) or block.endswith("?"):
                yield start, f'the heading "{block.lstrip("# ")}" does not name a task or a topic'
            continue
        for sentence in _SENTENCE_END.split(block):
            if _CLAUSE.match(sentence) and len(sentence.split()) > 3:
                yield start, f'a relative clause is the subject: "{_short(sentence)}"'
            if len(sentence.split()) > LONGEST_SENTENCE:
                yield start, f'a sentence of {len(sentence.split())} words: "{_short(sentence)}"'


@functools.cache
def _pattern(term: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(term).replace(r'\ ', r'\s+')}\b", re.IGNORECASE)


def docstring_problems(source: str, avoided: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield line number and description of each place in the docstrings of a Python module that breaks a rule."""
    for node in ast.walk(ast.parse(source)):
        docstring = ast.get_docstring(node) if isinstance(node, _DOCUMENTED) else None
        if docstring is None:
            continue
        first = node.body[0].lineno  # type: ignore[attr-defined]
        if opening := _OPENING.match(docstring):
            yield first, f'the docstring starts with "{opening[0]}": "{_short(docstring)}"'
        for line, problem in problems(docstring, avoided):
            if not (opening and problem.startswith("a relative clause") and line == 1):
                yield first + line - 1, problem


def comment_problems(source: str, avoided: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Yield line number and description of each place in the comments of a Python module that breaks a rule.

    Consecutive lines of comment are one text; a comment behind code is a text of its own.
    """
    texts: dict[int, list[str]] = {}
    first = last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or _DIRECTIVE.match(token.string):
            continue
        line, own_line = token.start[0], token.line.lstrip().startswith("#")
        first = first if own_line and line == last + 1 else line
        last = line if own_line else -1
        texts.setdefault(first, []).append(token.string.removeprefix("#"))
    for start, lines in texts.items():
        yield from ((start + line - 1, problem) for line, problem in problems("\n".join(lines), avoided))


def _python_problems(source: str, avoided: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    yield from docstring_problems(source, avoided)
    yield from comment_problems(source, avoided)


def _blocks(prose: str) -> Iterator[tuple[int, str]]:
    """Yield headings, paragraphs, list items and cells of tables as one line each, with their line numbers."""
    block: list[str] = []
    for number, line in enumerate([*prose.split("\n"), ""], start=1):
        begins = re.match(r"\s*(?:#+ |\||[-*] |\d+\. )", line)
        if block and (begins or not line.strip()):
            yield number - len(block), " ".join(block)
            block = []
        if line.lstrip().startswith("|"):
            yield from ((number, cell.strip()) for cell in line.strip(" |").split("|"))
        elif line.startswith("#"):
            yield number, line
        elif line.strip():
            block.append(re.sub(r"^(?:[-*]|\d+\.) ", "", line.strip()))


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _short(sentence: str) -> str:
    return " ".join(sentence.split()[:8]) + " …"


def _files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", *FILES], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def main(names: list[str]) -> int:
    """Print the problems of the named files, or of all files that are checked; return 1 if there are any."""
    avoided = terms((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    found = []
    for name in names or _files():
        check = _python_problems if name.endswith(".py") else problems
        if (ROOT / name).exists():  # else removed, and not committed yet
            text = (ROOT / name).read_text(encoding="utf-8")
            found += [f"{name}:{line}: {problem}" for line, problem in sorted(check(text, avoided))]
    print("\n".join(found) or "All prose checks passed!")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
