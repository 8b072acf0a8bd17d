"""The help of every command: an example, and nothing cut."""

from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperCommand, TyperGroup
from typer.testing import CliRunner

from service.cli.main import main


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        else:
            assert isinstance(command, TyperCommand)
            yield (*path, name)


def every_command() -> list[tuple[str, ...]]:
    group = typer.main.get_command(main)
    assert isinstance(group, TyperGroup)
    return list(commands(group))


def shown(*words: str) -> str:
    done = CliRunner().invoke(main, [*words, "--help"], terminal_width=80)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_has_an_example(words: tuple[str, ...]) -> None:
    output = shown(*words)

    assert f"  obproxy-takeover {' '.join(words)}" in output.split("Examples:")[1]
    assert "…" not in output and "╭" not in output


def test_the_help_names_each_variable_and_option_in_full() -> None:
    output = shown("submit")

    for word in (
        *("--proxysys-password-file FILE", "--idempotency-key KEY", "OBPROXY_TAKEOVER_URL", "OBPROXY_TAKEOVER_USER"),
        *("OBPROXY_TAKEOVER_PASSWORD_FILE", "OBPROXY_TAKEOVER_ACCESS_KEY_SECRET_FILE"),
    ):
        assert word in output, word


def test_the_list_of_commands_is_not_cut() -> None:
    summaries = shown().split("Commands:")[1].split("Examples:")[0].strip().splitlines()

    assert len(summaries) > 25
    assert not [line for line in summaries if "..." in line]
