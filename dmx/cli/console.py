"""What commands print: a console, tables and numbers."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

WIDE = 200
"""Width in columns of output that does not go to a terminal."""


def console(wide: int = WIDE) -> Console:
    """The terminal; in a file or a pipe lines are wrapped only beyond `wide` columns, so that names stay whole."""
    screen = Console(highlight=False)
    return screen if screen.is_terminal else Console(highlight=False, width=wide)


def framed(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without borders, with the first column left-aligned and the others right-aligned."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None)
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def number(value: float | int | str | None) -> str:
    """A value with four digits; a dash if it is missing."""
    return "-" if value is None else f"{float(value):.4g}"
