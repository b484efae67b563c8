"""`dmx predict`."""

from pathlib import Path

import click

from dmx.cli.options import home as home_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home

SHOWN = 10
"""Most left-out pictures to name."""


@click.command()
@click.argument("run")
@click.argument("images", type=UserPath())
@click.argument("out", type=UserPath(file_okay=False))
@click.option(
    "--backgrounds",
    type=UserPath(exists=True),
    help="For models that take it, the scene without the object: one picture, or a folder with the same names.",
)
@home_option
def predict(run: str, images: Path, out: Path, backgrounds: Path | None, home: Home) -> None:
    """Write mask and depth of photographs.

    RUN is a run's name. IMAGES is a picture, or a folder that is searched with its subfolders; pictures may be of any
    size. OUT is a new folder, with three files for each picture: mask/NAME.png (the probability times 255),
    depth/NAME.npy (float32, in metres where the run was trained on metres) and view/NAME.png to look at.
    """
    from dmx.cli.bar import bar
    from dmx.deliver.predict import predict as made
    from dmx.experiment.trained import trained

    network = trained(home, run)
    with bar("predicting") as progress:
        count, left_out = made(network, images, backgrounds, out, progress)
    click.echo(f"{out} now has mask, depth and view of {count} picture{'' if count == 1 else 's'}.")
    for said in left_out[:SHOWN]:
        click.echo(f"Left out: {said}", err=True)
    if len(left_out) > SHOWN:
        click.echo(f"Left out: {len(left_out) - SHOWN} more", err=True)
