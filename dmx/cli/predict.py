"""`dmx predict`."""

from pathlib import Path

import click

from dmx.cli.options import home as home_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home

SHOWN = 10
"""Pictures left out that are named."""


@click.command()
@click.argument("run")
@click.argument("images", type=UserPath())
@click.argument("out", type=UserPath(file_okay=False))
@click.option(
    "--backgrounds",
    type=UserPath(exists=True),
    help="The scene without the object: one picture, or a folder with one of each name; for models that take it.",
)
@home_option
def predict(run: str, images: Path, out: Path, backgrounds: Path | None, home: Home) -> None:
    """Write mask and depth of photographs.

    IMAGES is a picture, or a folder of pictures and of folders of them, of any size. OUT then has, for each,
    mask/NAME.png (the probability times 255), depth/NAME.npy (float32, metres where the run learned metres) and
    view/NAME.png to look at.
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
