"""The leaderboard as a table in the terminal."""

from collections.abc import Mapping, Sequence

import click
from rich.console import Console, JustifyMethod
from rich.table import Table

from dmx.cli.console import WIDE, console
from dmx.compare.columns import METRICS, Column, Extra, Kind, Value, columns
from dmx.compare.leads import Leads
from dmx.config import Objective
from dmx.results.ranking import Entry
from dmx.results.references import References, standings

NOT_COMPARED = Leads({}, "")


def show(
    entries: Sequence[Entry],
    title: str,
    top: int | None = None,
    goals: Sequence[str] = (),
    leads: Leads = NOT_COMPARED,
    extras: Sequence[Extra] = (),
) -> None:
    """Print ranked entries, best first, and what stands beneath them; missing values are shown as a dash.

    Args:
        entries: The result of `rank`.
        title: Title of the table.
        top: Number of entries to show; None: all.
        goals: Metrics to show first, if there are several objectives.
        leads: The statistical comparison of each entry with the first.
        extras: Rows beneath the entries, or lines where rows would cost a column.
    """
    objective = Objective(**entries[0].record["objective"])
    wanted = columns(entries, (objective.metric, *goals), leads)
    screen = console(WIDE)
    shown = list(enumerate(entries[:top], start=1))
    cells = {one: [written(one.kind, one.value(rank, entry)) for rank, entry in shown] for one in wanted}
    fitted = fitting(wanted, cells, screen.width)
    beneath = [[written(one.kind, one.extra(extra)) for one in fitted] for extra in extras]
    widths = [max(map(len, (one.name, *cells[one], *below))) for one, *below in zip(fitted, *beneath, strict=True)]
    as_rows = sum(widths) + 2 * len(widths) <= screen.width + 2
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False, box=None)
    for column in fitted:
        justify: JustifyMethod = "left" if column.kind in ("name", "text") else "right"
        table.add_column(column.name, justify=justify, no_wrap=True)
    for row in zip(*(cells[column] for column in fitted), strict=True):
        table.add_row(*row)
    for more in [[""] * len(fitted), *beneath] if beneath and as_rows else ():
        table.add_row(*more)
    screen.print(table)
    for line in () if as_rows else map(as_line, extras):
        screen.print(line, markup=False)
    if left_out := [column.name for column in wanted if column not in fitted]:
        screen.print(f"No room for {', '.join(left_out)}; a wider terminal, `--json` or `--csv` shows them.")
    if top is not None and len(entries) > top:
        screen.print(f"... and {len(entries) - top:,} more; `--top` shows them.")
    if extras:
        screen.print("The rows beneath were evaluated on the same samples, and are not ranked.")
    if not goals:
        explain(screen, objective, leads)


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


def as_line(extra: Extra) -> str:
    """A row beneath the ranked runs as a line, with the metrics that leaderboards show, where it has them."""
    known = ((metric, extra.values.get(metric)) for metric in METRICS)
    shown = [f"{m.removeprefix('val/').removesuffix('_pooled')} {value:.4g}" for m, value in known if value is not None]
    name = extra.name if extra.name.startswith(extra.what) else f"{extra.what}: {extra.name}"
    return f"{name}: {', '.join(shown) or '-'}"


def tell_standings(references: References | None, entry: Entry, metrics: Sequence[str]) -> None:
    """Print how a run stands against the strongest reference, a line for each of these metrics that both have."""
    values = entry.result.best.metrics if entry.result.best else {}
    for one in standings(references, metrics, values):
        click.echo(f"{entry.run} against the references: {one}.")


def explain(screen: Console, objective: Objective, leads: Leads) -> None:
    """Print what the order means and how far its differences can be trusted."""
    arrow = "lower" if objective.direction == "minimize" else "higher"
    screen.print(f"Ranked by {objective.metric} ({arrow} is better), each run at its best epoch.")
    if leads.by_run:
        screen.print(f"To 1st: {leads.message}")


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
