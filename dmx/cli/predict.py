"""`dmx predict`."""

from pathlib import Path

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home


@click.command()
@click.argument("run")
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--backgrounds",
    type=click.Path(path_type=Path, exists=True),
    help="The scene without the object: one picture, or a folder with one of each name; for models that take it.",
)
@home_option
def predict(run: str, images: Path, out: Path, backgrounds: Path | None, home: Home) -> None:
    """Write mask and depth of photographs.

    IMAGES is a picture or a folder of pictures, of any size. OUT then has, for each, mask/NAME.png (the probability
    times 255), depth/NAME.npy (float32, metres where the run learned metres) and view/NAME.png to look at.
    """
    from dmx.cli.bar import bar
    from dmx.deliver.predict import predict as made
    from dmx.experiment.trained import trained

    network = trained(home, run)
    with bar("predicting") as progress:
        count = made(network, images, backgrounds, out, progress)
    click.echo(f"{out} now has mask, depth and view of {count} pictures.")
