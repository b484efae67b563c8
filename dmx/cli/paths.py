"""Paths on the command line."""

import os
from pathlib import Path
from typing import Any

import click

from dmx.written import place


class UserPath(click.Path):
    """A path in which `~` is the home folder, also where the shell leaves it: behind `=` and in variables."""

    def __init__(self, **given: Any) -> None:
        super().__init__(path_type=Path, **given)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """As click does, of the path that is meant."""
        return super().convert(place(os.fspath(value)), param, ctx)
