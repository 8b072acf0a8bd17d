"""Checks the English of the Markdown files: `python -m scripts.prose [FILE …]`.

CONTRIBUTING.md, section English, has the rules and the table of terms; this module reads the table there. Code, links'
targets and generated tables are not read.
"""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST_SENTENCE = 30  # words; the aim is 25

_NOT_PROSE = re.compile(
    r"^[ \t]*```.*?^[ \t]*```|<!-- variables.*?<!-- end[^>]*>|<!--.*?-->|`[^`]*`|(?<=\])\([^)]*\)|<https?:[^>]*>",
    re.MULTILINE | re.DOTALL,
)
_OPENING = re.compile(r"(?:What|Who|Whom|Whose|Whoever|Whatever|Which|Whether|Those|How|Why|Where|That)\b")
_CLAUSE = re.compile(r"(?:What|Who|Whose|Whoever|Whatever)\b[^?]*$")
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
        for match in re.finditer(rf"\b{re.escape(term).replace(r'\ ', r'\s+')}\b", prose, re.IGNORECASE):
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


def main(names: list[str]) -> int:
    """Print the problems of the named files, or of all tracked Markdown files; return 1 if there are any."""
    avoided = terms((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = [
        f"{name}:{line}: {problem}"
        for name in names or listed.stdout.split()
        for line, problem in sorted(problems((ROOT / name).read_text(encoding="utf-8"), avoided))
    ]
    print("\n".join(found) or "All prose checks passed!")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
