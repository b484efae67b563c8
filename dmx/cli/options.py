"""Options that several commands share."""

from pathlib import Path

import click

from dmx.tracking.home import Home

overrides = click.option(
    "-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one value, as in -s optimizer.lr=3e-4."
)
home = click.option(
    "--home",
    default="mlruns",
    show_default=True,
    envvar="DMX_HOME",
    type=click.Path(path_type=Path, file_okay=False),
    callback=lambda ctx, param, value: Home(value),
    help="The folder of results.",
)
