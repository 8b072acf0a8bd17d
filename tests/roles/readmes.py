"""Writes the table of variables into each role's README, from its argument specs: python -m tests.roles.readmes."""

from pathlib import Path
from typing import Any

import yaml

from tests.yaml_files import load

BEGIN = "<!-- variables: written by python -m tests.roles.readmes from meta/argument_specs.yml -->"
END = "<!-- end of variables -->"


def table(specs: dict[str, Any]) -> str:
    """Return the variables of the entry points `main` and `rollback`, in the order of the spec."""
    undone = specs.get("rollback", {}).get("options", {})
    options = specs["main"]["options"] | undone
    if not options:
        return "The role has no variables."
    lines = ["| variable | type | default | |", "|---|---|---|---|"]
    lines += [_line(name, option, name in undone) for name, option in options.items()]
    if undone:
        lines += ["", "↺: the rollback reads it."]
    return "\n".join(lines)


def _line(name: str, option: dict[str, Any], undone: bool) -> str:
    kind = f"list of {option['elements']}" if "elements" in option else option["type"]
    if "choices" in option:
        kind = " or ".join(f"`{choice}`" for choice in option["choices"])
    if "default" in option:
        default = (
            f"`{yaml.safe_dump(option['default'], default_flow_style=True, width=1000).strip().strip('.').strip()}`"
        )
    else:
        default = "required" if option.get("required") else ""
    meaning = option["description"] + (" Never shown." if option.get("no_log") else "")
    cells = [f"`{name}`{' ↺' if undone else ''}", kind, default, meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def before_table(text: str) -> str:
    """Return the part that people write."""
    return text.partition(BEGIN)[0]


def with_table(text: str, specs: dict[str, Any]) -> str:
    """Return a README's text with the table of the specs, in its place or at the end."""
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2].strip()
    parts = [head.strip(), f"{BEGIN}\n{table(specs)}\n{END}", tail]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    for path in sorted((Path(__file__).parents[2] / "roles").glob("*/README.md")):
        specs = load(path.parent / "meta" / "argument_specs.yml")["argument_specs"]
        path.write_text(with_table(path.read_text(), specs))


if __name__ == "__main__":
    main()
