"""`dmx data synth`."""

from pathlib import Path

import click

from dmx.cli.bar import bar
from dmx.cli.options import COUNT, SIDE
from dmx.cli.paths import UserPath


@click.command()
@click.argument("out", type=UserPath(file_okay=False))
@click.option("--count", default=1000, show_default=True, type=COUNT, help="Quartets.")
@click.option("--size", default=64, show_default=True, type=SIDE, help="Pixels along each side.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The same seed, the same bytes.")
@click.option("--kind", default="metric", show_default=True, type=click.Choice(["metric", "relative"]))
def synth(out: Path, count: int, size: int, seed: int, kind: str) -> None:
    """Ray-cast quartets of procedural rooms into OUT, with exact depth, mask and background."""
    from typing import Literal, cast

    from dmx.data.synth import synth as make

    with bar("rendering") as progress:
        literal = cast("Literal['metric', 'relative']", kind)
        summary = make(out, count=count, size=size, seed=seed, kind=literal, progress=progress)
    click.echo(str(summary))
