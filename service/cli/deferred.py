"""Groups of commands whose module is imported when one of them is used."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


def deferred(module: str, name: str) -> typer.Typer:
    """Return a group with the commands of the group `name` of a module."""

    class Deferred(TyperGroup):
        def _imported(self) -> TyperGroup:
            group = typer.main.get_command(getattr(import_module(module), name))
            assert isinstance(group, TyperGroup)
            return group

        def list_commands(self, ctx: Any) -> list[str]:
            return self._imported().list_commands(ctx)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            return self._imported().get_command(ctx, cmd_name)

    return typer.Typer(cls=Deferred, no_args_is_help=True, rich_markup_mode=None)
