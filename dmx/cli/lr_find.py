"""`dmx lr-find`."""

from pathlib import Path

import click

from dmx.cli.options import Finite
from dmx.cli.options import home as home_option
from dmx.cli.options import overrides as overrides_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home

Rate = Finite(min=0, min_open=True)


@click.command("lr-find")
@click.argument("experiment", type=UserPath())
@overrides_option
@click.option("--from", "low", type=Rate, default=1e-7, show_default=True, help="The first learning rate.")
@click.option("--to", "high", type=Rate, default=10.0, show_default=True, help="The last learning rate.")
@click.option("--steps", type=click.IntRange(10, 100_000), default=100, show_default=True, help="Steps between them.")
@home_option
def lr_find(experiment: Path, overrides: tuple[str, ...], low: float, high: float, steps: int, home: Home) -> None:
    """Look for a good learning rate: raise it until the loss explodes.

    Trains the experiment for some steps and throws the weights away. The curve goes into an MLflow run of its own.
    """
    from dmx.cli.bar import bar
    from dmx.config import load_experiment
    from dmx.experiment.lr_find import find
    from dmx.experiment.prepare import prepare

    if low >= high:
        raise click.UsageError(f"--from must be below --to, but got --from {low:g} --to {high:g}; swap them.")
    config = load_experiment(experiment, overrides)
    with bar("reading pictures") as ready:
        prepared = prepare(config, home, ready)
    with bar("raising the learning rate") as stepped:
        curve, plot = find(prepared, home, low, high, steps, stepped)
    if curve.steepest is None or curve.tenth is None:
        message = f"the loss does not fall between {curve.rates[0]:.2g} and {curve.rates[-1]:.2g}; no suggestion"
    else:
        message = (
            f"try optimizer.lr={curve.steepest:.2g}, where the loss falls fastest (a tenth of the lowest point's is "
            f"{curve.tenth:.2g})"
        )
    click.echo(f"{config.name}: {message}{f'; {curve.ended}' if curve.ended else ''}. Plot: {plot}")
