"""`dmx data check`, `stats` and `show`: commands that inspect a data set."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmx.cli.bar import bar
from dmx.cli.options import PROCESSES
from dmx.cli.paths import UserPath

if TYPE_CHECKING:
    from dmx.datatools.check import Report
    from dmx.datatools.stats import Stats

FINDINGS_SHOWN = 10
"""Most findings of a kind to print; the JSON report has all."""
BAR_LENGTH = 30
"""Length of the longest bar in characters."""
GROUPS_SHOWN = 5
"""Most groups to print; stats.json has all."""
WIDE = 160
"""Width in columns without a terminal."""


@click.command()
@click.argument("root", type=UserPath(file_okay=False))
@click.option("--json", "report_path", type=UserPath(dir_okay=False), help="All, for programs.")
@click.option("--picture", type=UserPath(dir_okay=False), help="The worst samples as a PNG.")
@click.option("--worst", "rows", default=12, show_default=True, type=click.IntRange(min=1), help="Samples in it.")
@click.option("--workers", type=PROCESSES, help="How many processes. [one per core]")
@click.pass_context
def check(
    context: click.Context, root: Path, report_path: Path | None, picture: Path | None, rows: int, workers: int | None
) -> None:
    """Find what is wrong with the data set ROOT; exit code 1 where errors were found."""
    from dmx.data.layout import read
    from dmx.data.writing import write_picture
    from dmx.datatools.check import check as look
    from dmx.datatools.sheet import worst
    from dmx.errors import UserError

    if picture is not None and picture.suffix.lower() != ".png":
        raise UserError(f"{picture}: the worst samples are written as PNG only; let its name end in .png.")
    index = read(root)
    index.refuse_pack("check")
    with bar("checking") as progress:
        report = look(index, workers=workers, progress=progress)
    _show_report(report)
    if report_path is not None:
        report.write_json(report_path)
        click.echo(f"Report: {report_path}")
    if picture is not None and report.findings:
        write_picture(picture, worst(index, report, rows))
        click.echo(f"Worst samples: {picture}")
    elif picture is not None:
        click.echo(f"{picture} is not written: there is nothing wrong to be shown.")
    context.exit(1 if report.count("error") else 0)


def _show_report(report: "Report") -> None:
    """Print the counts by kind, then examples of each."""
    from rich.table import Table

    from dmx.cli.console import console
    from dmx.datatools.check import KINDS

    kinds = report.by_kind()
    if kinds:
        table = Table(box=None, pad_edge=False)
        for name in ("kind", "severity", "findings", "samples", "meaning"):
            table.add_column(name, justify="right" if name in ("findings", "samples") else "left", no_wrap=True)
        for name, found in kinds.items():
            affected = sum(one.affected for one in found)
            table.add_row(name, KINDS[name].severity, f"{len(found):,}", f"{affected:,}", KINDS[name].meaning)
        console(WIDE).print(table)
    for name, found in kinds.items():
        click.echo(f"\n{name}")
        for one in found[:FINDINGS_SHOWN]:
            file = f"{one.file} " if one.file else ""
            click.echo(f"  {one.sample}: {file}{one.text}")
        if len(found) > FINDINGS_SHOWN:
            click.echo(f"  and {len(found) - FINDINGS_SHOWN:,} more")
    errors, warnings = report.count("error"), report.count("warning")
    if kinds:
        click.echo()
    click.echo(f"{report.root}: {report.samples:,} samples, {errors:,} errors, {warnings:,} warnings")


@click.command()
@click.argument("root", type=UserPath(file_okay=False))
@click.option("--workers", type=PROCESSES, help="How many processes. [one per core]")
def stats(root: Path, workers: int | None) -> None:
    """Tell colours, depth, coverage and counts of the data set ROOT, and keep them in its stats.json."""
    from dmx.data.layout import read
    from dmx.datatools.stats import current_stats, write_stats
    from dmx.datatools.stats import stats as compute
    from dmx.errors import DataError

    index = read(root)
    found = current_stats(index)
    if found is None:
        if index.pack is not None:
            raise DataError(
                f"{root}: is a pack without statistics; take those of the data set that it was made from, and repeat "
                "`dmx data pack`, which brings them here."
            )
        with bar("reading") as progress:
            found = compute(index, workers=workers, progress=progress)
        _show_stats(found)
        write_stats(root, found)
    else:
        _show_stats(found)


def _show_stats(found: "Stats") -> None:
    sizes = ", ".join(f"{size} ({count:,})" for size, count in list(found.sizes.items())[:GROUPS_SHOWN])
    click.echo(f"{found.name}: {found.samples:,} samples in {len(found.groups):,} groups; {sizes}")
    for part, count in found.splits.items():
        click.echo(f"  {part:<12} {count:>9,}")
    largest = sorted(found.groups.items(), key=lambda one: -one[1])
    for group, count in largest[:GROUPS_SHOWN]:
        click.echo(f"  group {group:<12} {count:>9,}")
    if len(largest) > GROUPS_SHOWN:
        click.echo(f"  and {len(largest) - GROUPS_SHOWN:,} more groups, the smallest of {largest[-1][1]:,}")
    _colours(found)
    _depth(found)
    coverage = found.coverage
    ends = f"{coverage.least:.1%} to {coverage.greatest:.1%}"
    click.echo(f"\nMask covers {coverage.mean:.1%} on average, {ends}; samples by share")
    _bars(coverage.histogram, 0.0, 1.0)


def _colours(found: "Stats") -> None:
    click.echo("\nRGB in [0, 1]        mean                    deviation")
    rows = [("image", found.image_mean, found.image_std)]
    if found.background_mean is not None and found.background_std is not None:
        rows.append(("background", found.background_mean, found.background_std))
    for role, mean, deviation in rows:
        texts = ["  ".join(f"{value:.4f}" for value in triple) for triple in (mean, deviation)]
        click.echo(f"{role:<12}  {texts[0]}  {texts[1]}")


def _depth(found: "Stats") -> None:
    depth = found.depth
    if depth is None:
        click.echo("\nDepth: none")
        return
    click.echo(
        f"\nDepth: {depth.valid:.1%} of the pixels known; mean {depth.mean:.3f}, deviation {depth.deviation:.3f}"
    )
    click.echo("  " + "  ".join(f"{float(share):.0%}: {value:.3f}" for share, value in depth.quantiles.items()))
    _bars(depth.histogram, *depth.range)


def _bars(counts: tuple[int, ...], low: float, high: float) -> None:
    """Print a bar per two bins, from the first to the last that is not empty."""
    pairs = [sum(counts[at : at + 2]) for at in range(0, len(counts), 2)]
    filled = [at for at, count in enumerate(pairs) if count]
    step = (high - low) / len(pairs)
    for at in range(filled[0], filled[-1] + 1):
        eighths = round(pairs[at] / max(pairs) * BAR_LENGTH * 8)
        bar_ = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
        click.echo(f"  {low + at * step:7.3f} to {low + (at + 1) * step:7.3f}  {pairs[at] / sum(pairs):6.1%} {bar_}")


@click.command()
@click.argument("root", type=UserPath(file_okay=False))
@click.argument("out", type=UserPath(dir_okay=False))
@click.option("--count", default=12, show_default=True, type=click.IntRange(min=1), help="Samples to draw.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The same seed, the same ones.")
@click.option("--ids", help="These samples instead, with commas between.")
def show(root: Path, out: Path, count: int, seed: int, ids: str | None) -> None:
    """Draw samples of the data set ROOT into the picture OUT (PNG), spread over its groups."""
    from dmx.data.layout import read
    from dmx.data.writing import write_picture
    from dmx.datatools.sheet import show as draw
    from dmx.errors import UserError

    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: the sheet is written as PNG only; let its name end in .png.")
    names = [name.strip() for name in (ids or "").split(",") if name.strip()]
    index = read(root)
    index.refuse_pack("show")
    write_picture(out, draw(index, count=count, seed=seed, ids=names))
    click.echo(str(out))
