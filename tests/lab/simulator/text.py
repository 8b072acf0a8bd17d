"""Statement text: comments, blanks, patterns, as OBProxy's own little parser treats them."""

import re

_COMMENT = re.compile(r"\s*(/\*.*?\*/|--[ \t][^\n]*|--$|#[^\n]*)", re.DOTALL)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_LIKE = re.compile(r"\blike\s+('[^']*'|\"[^\"]*\"|[^\s;]+)\s*$", re.IGNORECASE)

VALUE_LIMIT = 512  # seen: 600 is too long, 100 is not


def statement(sql: str) -> str:
    """Return the statement without leading comments, surrounding blanks and one trailing semicolon."""
    while match := _COMMENT.match(sql):
        sql = sql[match.end() :]
    return sql.strip().removesuffix(";").strip()


def is_several(sql: str) -> bool:
    """Return whether a semicolon separates statements (one inside quotes does not)."""
    return ";" in sql and ";" in _QUOTED.sub("", sql)


def like_pattern(rest: str) -> str:
    """Return the pattern of a trailing LIKE, unquoted; '' = everything."""
    match = _LIKE.search(rest)
    return unquote(match[1]) if match else ""


def unquote(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"`" else text


def matches(pattern: str, name: str) -> bool:
    """Match SQL LIKE with % and _, case-sensitively."""
    if pattern in ("", "%"):
        return True
    if "%" not in pattern and "_" not in pattern:
        return pattern == name
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), name, re.DOTALL) is not None
