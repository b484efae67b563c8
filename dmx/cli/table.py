"""The leaderboard as a table in the terminal."""

from collections.abc import Iterator, Mapping, Sequence

import click
from rich.console import Console, JustifyMethod
from rich.table import Table

from dmx.compare.columns import METRICS, Column, Kind, Value, columns
from dmx.compare.leads import Leads
from dmx.config import Objective
from dmx.results.ranking import Entry
from dmx.results.references import References, standings, titled

NOT_COMPARED = Leads({}, "")
WIDE = 200
"""Width in columns without a terminal."""


def show(
    entries: Sequence[Entry],
    title: str,
    top: int | None = None,
    goals: Sequence[str] = (),
    leads: Leads = NOT_COMPARED,
    references: References | None = None,
) -> None:
    """Print ranked entries, best first, and beneath them the references; missing values are shown as a dash.

    Args:
        entries: The result of `rank`.
        title: Title of the table.
        top: Number of entries to show; None: all.
        goals: Metrics to show first, if there are several objectives.
        leads: The statistical comparison of each entry with the first.
        references: The references of their data; rows of their own, or lines where these would cost a column.
    """
    objective = Objective(**entries[0].record["objective"])
    wanted = columns(entries, (objective.metric, *goals), leads)
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    shown = list(enumerate(entries[:top], start=1))
    cells = {one: [written(one.kind, one.value(place, entry)) for place, entry in shown] for one in wanted}
    fitted = fitting(wanted, cells, console.width)
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False, box=None)
    for column in fitted:
        justify: JustifyMethod = "left" if column.kind in ("name", "text") else "right"
        table.add_column(column.name, justify=justify, no_wrap=True)
    for row in zip(*(cells[column] for column in fitted), strict=True):
        table.add_row(*row)
    known = referred(fitted, references)
    widths = [max(map(len, (one.name, *cells[one], *column))) for one, *column in zip(fitted, *known, strict=True)]
    as_rows = sum(widths) + 2 * len(widths) <= console.width + 2
    for cells_of_one in [[""] * len(fitted), *known] if known and as_rows else ():
        table.add_row(*cells_of_one)
    console.print(table)
    for line in () if as_rows else lines(references):
        console.print(line, highlight=False, markup=False)
    if left_out := [column.name for column in wanted if column not in fitted]:
        console.print(f"No room for {', '.join(left_out)}; a wider terminal, `--json` or `--csv` shows them.")
    if top is not None and len(entries) > top:
        console.print(f"... and {len(entries) - top:,} more; `--top` shows them.", highlight=False)
    if not goals:
        explain(console, objective, leads)


def fitting(wanted: Sequence[Column], cells: Mapping[Column, Sequence[str]], width: int) -> list[Column]:
    """Leave out columns that the terminal has no room for: texts first, then from the right, never the first four.

    A column that is cut would mislead: half a number is another number.
    """
    fitted = list(wanted)
    texts = [column for column in wanted if column.kind == "text"]
    for column in (*reversed(texts), *(one for one in reversed(wanted[4:]) if one not in texts)):
        if sum(max(map(len, (one.name, *cells[one]))) + 2 for one in fitted) <= width + 2:
            break
        fitted.remove(column)
    return fitted


def referred(shown: Sequence[Column], references: References | None) -> list[list[str]]:
    """A row of cells for each reference."""
    known = references.values if references is not None else {}
    return [[written(one.kind, one.of_reference(name, values)) for one in shown] for name, values in known.items()]


def lines(references: References | None) -> Iterator[str]:
    """A line for each reference with the metrics that leaderboards show, where it has them."""
    for name, values in references.values.items() if references is not None else ():
        known = ((metric.removeprefix("val/"), values.get(metric.removeprefix("val/"))) for metric in METRICS)
        shown = [f"{metric.removesuffix('_pooled')} {value:.4g}" for metric, value in known if value is not None]
        yield f"{titled(name)}: {', '.join(shown) or '-'}"


def tell_standings(references: References | None, entry: Entry, metrics: Sequence[str]) -> None:
    """Print how a run stands against the strongest reference, a line for each of these metrics that both have."""
    values = entry.result.best.metrics if entry.result.best else {}
    for one in standings(references, metrics, values):
        click.echo(f"{entry.run} against the references: {one}.")


def explain(console: Console, objective: Objective, leads: Leads) -> None:
    """Print what the order means and how far its differences can be trusted."""
    arrow = "lower" if objective.direction == "minimize" else "higher"
    console.print(f"Ranked by {objective.metric} ({arrow} is better), each run at its best epoch.", highlight=False)
    if leads.by_run:
        console.print(f"To 1st: {leads.message}", highlight=False)


def written(kind: Kind, value: Value) -> str:
    """Format a value; a dash if it is missing."""
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
