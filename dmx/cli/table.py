"""The leaderboard as a table in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from dmx.compare.leads import Leads
from dmx.config import Objective
from dmx.results.ranking import Entry

SECOND = ("val/mask/iou_pooled", "val/depth/rmse_pooled", "val/depth/delta1_pooled")
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
    metrics = list(dict.fromkeys((objective.metric, *(name for name in goals if "/" in name), *SECOND)))
    metrics = [name for name in metrics if any(e.result.best and name in e.result.best.metrics for e in entries)]
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False, box=None)
    table.add_column("#", justify="right")
    for column in ("run", "outcome"):
        table.add_column(column, no_wrap=True)
    for name in metrics:
        table.add_column(name.removeprefix("val/").removesuffix("_pooled"), justify="right", no_wrap=True)
        if leads.by_run and name == objective.metric:
            table.add_column("to 1st", no_wrap=True)
    for column in ("model", "losses", "weighting", "optimizer"):
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for place, entry in enumerate(entries[:top], start=1):
        cells = row(place, entry, metrics)
        if leads.by_run:
            found = leads.by_run.get(entry.run)
            cells.insert(4, found.verdict if found else "" if place == 1 else "-")
        table.add_row(*cells)
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


def row(place: int, entry: Entry, metrics: Sequence[str]) -> list[str]:
    """One entry as texts."""
    best, params = entry.result.best, entry.record["params"]
    values = [best.metrics.get(name) if best else None for name in metrics]
    return [
        str(place) if best else "-",
        entry.run,
        entry.result.outcome,
        *("-" if value is None else f"{value:.4g}" for value in values),
        params["model"],
        f"{params['loss.mask']}, {params['loss.depth']}",
        str(params.get("weighting", "-")),
        f"{params['optimizer']} {params.get('optimizer.lr', float('nan')):.2g}",
        f"{entry.record['parameters'] / 1e6:.2f}M",
        f"{entry.result.seconds:.0f}s",
    ]
