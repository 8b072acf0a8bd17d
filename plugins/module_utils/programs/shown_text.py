"""Part of host programs: cuts text only between lines or words, because masking does not find a part of a secret."""

LINES_LIMIT = 500  # characters; a longer last line is shown whole
LINE_LIMIT = 4000


def last_lines(text: str) -> str:
    """Return the last lines of an output within `LINES_LIMIT`, at least one; no part of a longer first line."""
    *lines, shown = text.strip().split("\n")
    if len(shown) > LINE_LIMIT:
        return f"a line of {len(shown)} characters"
    for line in reversed(lines):
        if len(line) + 1 + len(shown) > LINES_LIMIT:
            break
        shown = line + "\n" + shown
    return shown


def first_words(words: "list[str]", limit: int) -> str:
    """Return the first words within `limit` characters, joined by spaces; "…" stands for the others."""
    shown = ""
    for word in words:
        if len(shown) + len(word) > limit:
            return shown + "…"
        shown += word + " "
    return shown[:-1]
