"""`dmx data stats`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmx.cli.bar import bar
from dmx.cli.options import PROCESSES
from dmx.cli.paths import UserPath

if TYPE_CHECKING:
    from dmx.data.stats import Stats

LONGEST = 30
"""Characters of the longest bar."""
GROUPS = 5
"""Groups that are shown; stats.json has all."""


@click.command()
@click.argument("root", type=UserPath(file_okay=False))
@click.option("--workers", type=PROCESSES, help="Processes; one per core unless told.")
def stats(root: Path, workers: int | None) -> None:
    """Tell colours, depth, coverage and counts of the data set ROOT, and keep them in its stats.json."""
    from dmx.data.layout import read
    from dmx.data.stats import current_stats, write_stats
    from dmx.data.stats import stats as compute
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
        _show(found)
        write_stats(root, found)
    else:
        _show(found)


def _show(found: "Stats") -> None:
    sizes = ", ".join(f"{size} ({count:,})" for size, count in list(found.sizes.items())[:GROUPS])
    click.echo(f"{found.name}: {found.samples:,} samples in {len(found.groups):,} groups; {sizes}")
    for part, count in found.splits.items():
        click.echo(f"  {part:<12} {count:>9,}")
    largest = sorted(found.groups.items(), key=lambda one: -one[1])
    for group, count in largest[:GROUPS]:
        click.echo(f"  group {group:<12} {count:>9,}")
    if len(largest) > GROUPS:
        click.echo(f"  and {len(largest) - GROUPS:,} more groups, the smallest of {largest[-1][1]:,}")
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
    """A bar for each two bins from the first to the last that holds anything."""
    pairs = [sum(counts[at : at + 2]) for at in range(0, len(counts), 2)]
    filled = [at for at, count in enumerate(pairs) if count]
    step = (high - low) / len(pairs)
    for at in range(filled[0], filled[-1] + 1):
        eighths = round(pairs[at] / max(pairs) * LONGEST * 8)
        bar_ = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
        click.echo(f"  {low + at * step:7.3f} to {low + (at + 1) * step:7.3f}  {pairs[at] / sum(pairs):6.1%} {bar_}")
