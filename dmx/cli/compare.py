"""`dmx compare`."""

import csv
import json
import sys
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmx.cli.options import home as home_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home

if TYPE_CHECKING:
    from dmx.compare.runs import Comparison

COLOURS = {"better": "green", "worse": "red", "network better": "green", "network worse": "red"}


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    help="Compare this metric only, for example depth/rmse_pooled; may be repeated. Choose it before you see results.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
@click.option("--html", "page", type=UserPath(dir_okay=False), help="Also write an HTML page with plots and pictures.")
@home_option
def compare(
    runs: tuple[str, ...], metrics: tuple[str, ...], as_json: bool, as_csv: bool, page: Path | None, home: Home
) -> None:
    """Compare runs sample by sample, and say what is more than chance.

    Each of RUNS is compared with the first, on the validation samples of its best epoch.

    Runs that differ in their seeds alone count as one configuration. Each difference has a 95 % interval over groups of
    samples and over seeds. With a single seed the verdict is about that network alone (`network better`). The intervals
    are corrected for the number of differences that are shown (Holm 1979).

    A reference is named like a run: reference:mean_map, reference:global_mean, reference:global_median,
    reference:mean_mask, reference:background_difference. Else the last column has the strongest one's value.
    """
    from dmx.compare.runs import compare as made
    from dmx.results.references import titled

    if len(runs) < 2:
        raise click.UsageError("name two runs at least; `dmx leaderboard` lists them.")
    found = made(home, runs, metrics)
    if as_json:
        facts = {"runs": [one.name for one in found.candidates], "message": found.message, "metrics": [*rows(found)]}
        click.echo(json.dumps(facts, indent=1))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, ["metric", "run", "value", "difference", "low", "high", "verdict"])
        writer.writeheader()
        for row in rows(found):
            named = {one.name for one in found.candidates}
            known = [{"run": titled(name), "value": value} for name, value in row["references"].items()]
            others = [one for one in known if one["run"] not in named]
            writer.writerows({"metric": row["metric"], **one} for one in (*row["runs"], *others))
    else:
        show(found)
    if page is not None:
        write_page(found, home, page)


def write_page(found: "Comparison", home: Home, path: Path) -> None:
    """Write the HTML page, with pictures if the data still exist."""
    from dmx.compare.pictures import pairs
    from dmx.errors import UserError
    from dmx.report.comparison import comparison_page
    from dmx.sample_table import base
    from dmx.stored import replace_text

    first, *others = found.candidates
    runs = [run for candidate in found.candidates for run in candidate.runs]
    metric = base(runs[0].record["objective"]["metric"].removeprefix("val/"))
    shown, why_none = {}, ""
    try:
        shown = {one.name: [*pairs(home, first, one, metric)] for one in others if first.runs and one.runs}
    except UserError as error:
        why_none = str(error)
    replace_text(path, comparison_page(found, shown, metric, why_none))
    click.echo(f"Wrote {path}.")


def rows(found: "Comparison") -> Iterator[dict[str, Any]]:
    """Yield, for each metric and candidate, the value and its difference from the first candidate."""
    for metric in found.metrics:
        each: list[dict[str, Any]] = []
        for i, (candidate, value) in enumerate(zip(found.candidates, found.values[metric], strict=True)):
            one: dict[str, Any] = {"run": candidate.name, "value": value}
            if i and (d := found.differences[metric][i - 1]) is not None:
                low, high = (end if isfinite(end) else None for end in (d.low, d.high))  # JSON knows no infinity
                one |= {"difference": d.value, "low": low, "high": high, "verdict": d.verdict}
            each.append(one)
        known = found.references.values if found.references is not None else {}
        named = {name: values[metric] for name, values in known.items() if metric in values}
        yield {"metric": metric, "runs": each, "references": named}


def reference_cell(found: "Comparison", metric: str) -> str:
    """Format the strongest reference of a metric."""
    from dmx.cli.console import number
    from dmx.results.references import TITLES

    best = found.references.strongest(metric) if found.references is not None else None
    return "-" if best is None else f"{number(best[1])} ({TITLES.get(best[0], best[0])})"


def show(found: "Comparison") -> None:
    """Print two tables: metrics, and differences between the configurations."""
    from rich.table import Table

    from dmx.cli.console import console, number

    screen = console()
    table = Table(title="Validation, against the first", title_justify="left", title_style="bold", box=None)
    table.add_column("metric", no_wrap=True)
    for candidate in found.candidates:
        table.add_column(candidate.name, justify="right")
    if found.references is not None:
        table.add_column("strongest reference", justify="right")
    for row in rows(found):
        first, *others = (number(one["value"]) for one in row["runs"])
        cells = [first]
        for text, one in zip(others, row["runs"][1:], strict=True):
            if "verdict" in one:
                colour = COLOURS.get(one["verdict"], "default")
                bounds = "?" if one["low"] is None else f"{one['low']:+.2g}, {one['high']:+.2g}"
                text += f"  {one['difference']:+.3g} [{bounds}] [{colour}]{one['verdict']}[/]"
            cells.append(text)
        if found.references is not None:
            cells.append(reference_cell(found, row["metric"]))
        table.add_row(row["metric"], *cells)
    screen.print(table)
    settings = Table(title="Configurations", title_justify="left", title_style="bold", box=None)
    for column in ("setting", *(candidate.name for candidate in found.candidates)):
        settings.add_column(column)
    for path, values in found.changed.items():
        settings.add_row(path, *map(str, values))
    screen.print(settings)
    screen.print(found.message)
