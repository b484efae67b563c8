"""`dmx calibrate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmx.cli.options import home as home_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmx.compare.difference import Difference
    from dmx.deliver.calibrate import Form


def slug(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check a name that becomes a file's."""
    import re

    if value is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", value):
        raise click.BadParameter(f"'{value}' must have letters, digits, dots and dashes alone, at most 64.")
    return value


@click.command()
@click.argument("run")
@click.argument("data", type=UserPath(file_okay=False))
@click.option("--part", type=click.Choice(("all", "train", "val", "test")), help="Which samples.  [all of other data]")
@click.option("--name", callback=slug, help="Name of the calibration.  [the data set's]")
@home_option
def calibrate(run: str, data: Path, part: Any, name: str | None, home: Home) -> None:
    """Fit a run's depth to another camera.

    DATA is a data set with a few measured pictures of at least four places (groups). Scale, and scale and power, of
    depth are fitted and judged on groups that were held out. One of them is kept with the run only where its 95 %
    interval excludes no change; `dmx predict` and `dmx export` then take it by --calibration NAME.
    """
    from dmx.cli.bar import bar
    from dmx.data.layout import read
    from dmx.deliver.calibrate import choose, compare, keep, measure
    from dmx.experiment.trained import calibration_path, trained

    network, index = trained(home, run), read(data)
    with bar("looking at pictures") as progress:
        pictures = measure(network, data, part, home, progress)
    forms = compare(pictures)
    show(forms, len(pictures), len({one.group for one in pictures}))
    chosen, named = choose(forms), name or slugged(index.name)
    if chosen.name == "none":
        click.echo("\nNothing is kept: no form is better than none by more than chance.")
        if (earlier := calibration_path(home, run, named)).is_file():
            click.echo(f"An earlier calibration '{named}' stays in force; to be rid of it, remove {earlier}.")
        return
    path = keep(home, run, named, chosen, {"data": index.fingerprint(), "pictures": len(pictures)})
    fitted = chosen.fitted
    formula = f"{fitted.scale:.4g} d" if chosen.name == "scale" else f"{fitted.scale:.4g} d^{fitted.power:.4g}"
    click.echo(f"\nKept {chosen.name} in {path}: depth is {formula}.")
    click.echo(f"`dmx predict` and `dmx export` take it by --calibration {named}.")


def slugged(name: str) -> str:
    """A data set's name as a file's."""
    import re

    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:64] or "calibration"


def show(forms: "Sequence[Form]", pictures: int, groups: int) -> None:
    """Print what each form comes to."""
    from dmx.cli.console import console, framed, number

    columns = ("form", "scale", "power", "depth/rmse (m)", "change", "to scale alone", "abs_rel", "delta1")
    rows = [
        (
            form.name,
            *map(number, (form.fitted.scale, form.fitted.power, form.rmse)),
            interval(form.to_none),
            interval(form.to_scale),
            *map(number, (form.abs_rel, form.delta1)),
        )
        for form in forms
    ]
    title = f"{pictures} pictures of {groups} groups; errors are of groups that were held out, per picture"
    console().print(framed(title, columns, rows))


def interval(one: "Difference | None") -> str:
    """Format a difference with its interval."""
    return "-" if one is None else f"{one.value:+.4g} [{one.low:+.4g}, {one.high:+.4g}]"
