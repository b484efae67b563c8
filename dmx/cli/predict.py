"""`dmx predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmx.cli import options
from dmx.cli.paths import UserPath
from dmx.errors import MachineError
from dmx.tracking.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dmx.data.layout import DatasetIndex
    from dmx.deliver.manifest import Entry

SHOWN = 10
"""Most left-out or failed pictures to name."""

MADE = "mask, depth and view"
SPREADS = "mask, depth, view and uncertainty (uncertainty/mask, uncertainty/depth)"
"""What is written of each picture: without and with `--uncertainty`."""


@click.command()
@click.argument("run")
@click.argument("images", type=UserPath(), nargs=-1, required=True)
@click.argument("out", type=UserPath(file_okay=False))
@click.option(
    "--backgrounds",
    type=UserPath(exists=True),
    help="For models that take it, the scene without the object: one picture, or a folder with the same names.",
)
@click.option("--part", type=click.Choice(("train", "val", "test")), help="Of a data set: this part only.")
@options.others
@options.tta
@click.option("--tile", is_flag=True, help="Do not shrink large pictures: predict them in tiles that overlap.")
@click.option(
    "--depth-format",
    type=click.Choice(("npy", "png16", "exr", "ply")),
    default="npy",
    show_default=True,
    help="npy, exr: float32. png16: millimetres up to 65.535 m; relative depth times 65535. ply: a point cloud.",
)
@click.option(
    "--fov",
    type=options.Finite(1, 180, max_open=True),
    default=49.6,
    show_default=True,
    help="For ply: the camera's field of view along the shorter side of the picture, in degrees.",
)
@click.option("--uncertainty", is_flag=True, help="With --with or --tta: write the standard deviations, too.")
@options.calibration
@click.option("--batch", type=click.IntRange(1, 1024), help="Pictures in a batch.  [8; on a CPU 2, on each core]")
@options.home
def predict(
    run: str,
    images: tuple[Path, ...],
    out: Path,
    backgrounds: Path | None,
    part: Any,
    others: tuple[str, ...],
    home: Home,
    batch: int | None,
    tta: str | None,
    **given: Any,
) -> None:
    """Write mask and depth of photographs.

    RUN is a run's name. Each of IMAGES is a picture, a folder that is searched with its subfolders, a quoted pattern
    such as 'photos/**/*.jpg', a video, or the folder of a data set, whose backgrounds are known. Pictures may be of any
    size.

    OUT is a new folder, with these files for each picture: mask/NAME.png (the probability times 255), depth/NAME.npy
    (float32, in metres where the run was trained on metres) and view/NAME.png to look at. With --uncertainty also
    uncertainty/mask/NAME.npy and uncertainty/depth/NAME.npy. Its manifest.jsonl says what became of each. A command
    that was stopped goes on where it was; pictures that failed are tried again.
    """
    from dmx.cli.bar import bar
    from dmx.deliver.predict import Options, Prediction
    from dmx.deliver.predict import predict as made
    from dmx.deliver.sources import sources

    prediction = Prediction(home, (run, *others), Options(flip=tta == "flip", **given), batch)
    found, left_out = sources(images, None if part is None else chooser(part, home, run))
    with bar("predicting", goes_on=True) as progress:
        before, entries = made(prediction, found, backgrounds, out, progress)
    tell(out, SPREADS if prediction.options.uncertainty else MADE, (before, entries), left_out)


def chooser(part: Any, home: Home, run: str) -> "Callable[[DatasetIndex], Sequence[str]]":
    """What chooses the samples of a part of a data set, as `dmx evaluate` does."""
    from dmx.experiment.evaluate import select
    from dmx.experiment.trained import config_of

    return lambda index: select(index.root, part, home, run, config_of(home, run).data.split).ids


def tell(out: Path, what: str, made: "tuple[int, Sequence[Entry]]", left_out: list[str]) -> None:
    """Say what is there now, what was left out and what failed.

    Args:
        out: The folder.
        what: What it has of each picture.
        made: The number of pictures that were there before, and what became of the others.
        left_out: The files that are no pictures, each with the reason.

    Raises:
        MachineError: Pictures failed.
    """
    from dmx.deliver.manifest import OK

    before, entries = made
    failed = [entry for entry in entries if entry.status != OK]
    count = before + len(entries) - len(failed)
    earlier = f", {before} of them from before" if before else ""
    click.echo(f"{out} now has {what} of {count} picture{'' if count == 1 else 's'}{earlier}.")
    for said in left_out[:SHOWN]:
        click.echo(f"Left out: {said}", err=True)
    if len(left_out) > SHOWN:
        click.echo(f"Left out: {len(left_out) - SHOWN} more", err=True)
    if failed:
        listing = "".join(f"\n  {entry.name}: {entry.error}" for entry in failed[:SHOWN])
        more = f"\n  and {len(failed) - SHOWN} more; manifest.jsonl has all" if len(failed) > SHOWN else ""
        raise MachineError(
            f"{len(failed)} of {before + len(entries)} pictures failed; the same command tries these alone once more:"
            f"{listing}{more}"
        )
