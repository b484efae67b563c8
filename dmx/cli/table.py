"""The leaderboard as a table in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from dmx.compare.columns import Value, columns
from dmx.compare.leads import Leads
from dmx.config import Objective
from dmx.results.ranking import Entry

NOT_COMPARED = Leads({}, "")
WIDE = 200
"""Columns where there is no terminal: a file has room."""


def show(
    entries: Sequence[Entry],
    title: str,
    top: int | None = None,
    goals: Sequence[str] = (),
    leads: Leads = NOT_COMPARED,
) -> None:
    """Print ranked entries, best first; a value that is missing is shown as a dash.

    Args:
        entries: What `rank` gave.
        title: What stands above.
        top: How many to show; None: all.
        goals: Metrics to show first, where there are several objectives.
        leads: How they stand to the first.
    """
    objective = Objective(**entries[0].record["objective"])
    wanted = columns(entries, (objective.metric, *goals), leads)
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False, box=None)
    for column in wanted:
        cut = column.kind == "text"
        number = column.kind not in ("name", "text")
        table.add_column(
            column.name, justify="right" if number else "left", overflow="ellipsis" if cut else "fold", no_wrap=True
        )
    for place, entry in enumerate(entries[:top], start=1):
        table.add_row(*(written(column.kind, column.value(place, entry)) for column in wanted))
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(table)
    if top is not None and len(entries) > top:
        console.print(f"... and {len(entries) - top:,} more; `--top` shows them.", highlight=False)
    if not goals:
        explain(console, objective, leads)


def explain(console: Console, objective: Objective, leads: Leads) -> None:
    """Say what the order means, and what its differences are worth."""
    arrow = "lower" if objective.direction == "minimize" else "higher"
    console.print(f"Ranked by {objective.metric} ({arrow} is better), each run at its best epoch.", highlight=False)
    if leads.by_run:
        console.print(f"To 1st: {leads.message}", highlight=False)


def written(kind: str, value: Value) -> str:
    """A value as text; a dash where there is none."""
    if value is None or isinstance(value, str):
        return "-" if value is None else value
    match kind:
        case "metric":
            return f"{value:.4g}"
        case "parameters":
            return f"{value / 1e6:.2f}M"
        case "seconds":
            return f"{value:.0f}s"
    return str(value)
