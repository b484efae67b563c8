"""Paths on the command line."""

import os
from pathlib import Path
from typing import Any

import click

from dmx.written import place


class UserPath(click.Path):
    """A path in which `~` is expanded, also where the shell does not: after `=` and in variables."""

    def __init__(self, **given: Any) -> None:
        super().__init__(path_type=Path, **given)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Convert as click does, after expanding `~`."""
        return super().convert(place(os.fspath(value)), param, ctx)
