"""Options and number types that several commands share."""

import math
from pathlib import Path
from typing import Any

import click

from dmx.cli.paths import UserPath
from dmx.errors import UserError
from dmx.tracking.home import Home


def _home(ctx: click.Context, param: click.Parameter, value: Path) -> Home:
    try:
        value.resolve()
    except RuntimeError:  # up to Python 3.12; then an OSError with its own advice
        raise UserError(f"{value}: its links lead in a circle; mend them, or give another place.") from None
    return Home(value)


overrides = click.option(
    "-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one value, as in -s optimizer.lr=3e-4."
)
home = click.option(
    "--home",
    default="mlruns",
    show_default=True,
    envvar="DMX_HOME",
    type=UserPath(file_okay=False),
    callback=_home,
    help="The folder with all results.",
)
calibration = click.option(
    "--calibration", metavar="NAME", help="Depth of another camera, by this calibration of `dmx calibrate`."
)
others = click.option("--with", "others", metavar="RUN", multiple=True, help="Average with this run; may be repeated.")
tta = click.option("--tta", type=click.Choice(("flip",)), help="Average with the prediction of the mirrored picture.")
plugins = click.option("--plugin", "plugins", multiple=True, metavar="MODULE", help="Load this module first.")

COUNT = click.IntRange(1, 10_000_000)
"""Number of samples."""
SIDE = click.IntRange(8, 4096)
"""Side in pixels."""
PROCESSES = click.IntRange(1, 128)


class Finite(click.FloatRange):
    """A range of finite numbers; `nan` would pass click's own check, as it is neither below nor above anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse and validate the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
