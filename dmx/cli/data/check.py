"""`dmx data check`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmx.cli.bar import bar
from dmx.cli.options import PROCESSES
from dmx.cli.paths import UserPath

if TYPE_CHECKING:
    from dmx.data.check import Report

EXAMPLES = 10
"""Findings of a kind that are shown; the report has all."""
WIDE = 160
"""Columns where there is no terminal: a file has room."""


@click.command()
@click.argument("root", type=UserPath(file_okay=False))
@click.option("--json", "report_path", type=UserPath(dir_okay=False), help="All, for programs.")
@click.option("--picture", type=UserPath(dir_okay=False), help="The worst samples as a PNG.")
@click.option("--worst", "rows", default=12, show_default=True, type=click.IntRange(min=1), help="Samples in it.")
@click.option("--workers", type=PROCESSES, help="Processes; one per core unless told.")
@click.pass_context
def check(
    context: click.Context, root: Path, report_path: Path | None, picture: Path | None, rows: int, workers: int | None
) -> None:
    """Find what is wrong with the data set ROOT; exit code 1 where errors were found."""
    from dmx.data.check import check as look
    from dmx.data.check import worst
    from dmx.data.layout import read
    from dmx.data.writing import write_picture
    from dmx.errors import UserError

    if picture is not None and picture.suffix.lower() != ".png":
        raise UserError(f"{picture}: the worst samples are written as PNG only; let its name end in .png.")
    index = read(root)
    index.refuse_pack("check")
    with bar("checking") as progress:
        report = look(index, workers=workers, progress=progress)
    _show(report)
    if report_path is not None:
        report.write_json(report_path)
        click.echo(f"Report: {report_path}")
    if picture is not None and report.findings:
        write_picture(picture, worst(index, report, rows))
        click.echo(f"Worst samples: {picture}")
    elif picture is not None:
        click.echo(f"{picture} is not written: there is nothing wrong to be shown.")
    context.exit(1 if report.count("error") else 0)


def _show(report: "Report") -> None:
    """The counts by kind, then examples of each."""
    from rich.console import Console
    from rich.table import Table

    from dmx.data.check import KINDS

    kinds = report.by_kind()
    if kinds:
        table = Table(box=None, pad_edge=False)
        for name in ("kind", "severity", "findings", "samples", "meaning"):
            table.add_column(name, justify="right" if name in ("findings", "samples") else "left", no_wrap=True)
        for name, found in kinds.items():
            affected = sum(one.affected for one in found)
            table.add_row(name, KINDS[name].severity, f"{len(found):,}", f"{affected:,}", KINDS[name].meaning)
        console = Console()
        (console if console.is_terminal else Console(width=WIDE)).print(table)
    for name, found in kinds.items():
        click.echo(f"\n{name}")
        for one in found[:EXAMPLES]:
            file = f"{one.file} " if one.file else ""
            click.echo(f"  {one.sample}: {file}{one.text}")
        if len(found) > EXAMPLES:
            click.echo(f"  and {len(found) - EXAMPLES:,} more")
    errors, warnings = report.count("error"), report.count("warning")
    if kinds:
        click.echo()
    click.echo(f"{report.root}: {report.samples:,} samples, {errors:,} errors, {warnings:,} warnings")
