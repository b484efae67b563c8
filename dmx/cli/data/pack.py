"""`dmx data pack`."""

import re
from pathlib import Path
from typing import Any

import click

from dmx.cli.bar import bar
from dmx.cli.paths import UserPath


@click.command()
@click.argument("dataset", type=UserPath(file_okay=False))
@click.argument("out", type=UserPath(file_okay=False))
@click.option("--size", required=True, metavar="S|HxW", help="Side, or height and width, in pixels: 192 or 240x320.")
@click.option(
    "--encoding",
    default="raw",
    show_default=True,
    type=click.Choice(["raw", "png"]),
    help="raw reads fastest, png takes less space and loses nothing either.",
)
def pack(dataset: Path, out: Path, size: str, encoding: Any) -> None:
    """Decode and resize DATASET once into memory-mapped Arrow files in OUT.

    Training takes OUT as `data.root` like any data set. Stopped, the same command goes on. Where
    DATASET has statistics (`dmx data stats`), OUT gets them.
    """
    from dmx.data.layout import read
    from dmx.data.pack.write import pack as write
    from dmx.datatools.stats import copy_stats, current_stats

    index = read(dataset)
    statistics = current_stats(index)
    with bar("packing", goes_on=True) as progress:
        summary = write(index, out, size=height_width(size), encoding=encoding, progress=progress)
    if statistics is not None:
        copy_stats(statistics, out)
    click.echo(str(summary))


def height_width(text: str) -> tuple[int, int]:
    """Parse `192` as (192, 192) and `240x320` as (240, 320).

    Raises:
        BadParameter: The text has neither form, or a side is not in 8 to 4096.
    """
    sides = text.lower().split("x")
    if not re.fullmatch(r"[0-9]{1,4}(x[0-9]{1,4})?", text.lower()) or not all(8 <= int(side) <= 4096 for side in sides):
        raise click.BadParameter(
            f"must be a side or HEIGHTxWIDTH of 8 to 4096 pixels, but got '{text}'.", param_hint="--size"
        )
    return int(sides[0]), int(sides[-1])
