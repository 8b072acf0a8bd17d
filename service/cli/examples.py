"""Examples of commands in their help."""

PROGRAM = "obproxy-takeover"


def examples(*lines: tuple[str, str]) -> str:
    """Return the end of a command's help: commands, each with what it does."""
    width = max(len(command) for command, _ in lines)
    shown = [f"  {PROGRAM} {command:<{width}}  {meaning}".rstrip() for command, meaning in lines]
    # The backspace keeps Click from joining the lines.
    return "\n".join(["\b", "Examples:", *shown])
