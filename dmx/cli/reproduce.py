"""`dmx reproduce`."""

from typing import TYPE_CHECKING

import click

from dmx.cli.options import Finite
from dmx.cli.options import home as home_option
from dmx.tracking.home import Home

if TYPE_CHECKING:
    from dmx.again.comparison import Weights
    from dmx.again.reproduction import Found


@click.command()
@click.argument("run")
@click.option(
    "--tolerance",
    type=Finite(min=0),
    metavar="SHARE",
    help="Count as noise what changes the objective by no more than this share of its value, in place of what other "
    "seeds of the run say.",
)
@click.option("--check", is_flag=True, help="Only say whether all is as recorded; train nothing.")
@home_option
def reproduce(run: str, tolerance: float | None, check: bool, home: Home) -> int:
    """Train a run again from what it recorded, and compare the two.

    RUN is a run's name. Its code is its git commit with its diff, checked out beside the working tree; data, packages
    and machine are those that are there, and each that is not as recorded is named. The results are in a folder of
    their own, reproductions/RUN-1, which the same command goes on with where it was stopped.

    The exit code is 0 if weights and metrics are identical or within noise, and 1 if they differ.
    """
    from dmx.again import reproduction
    from dmx.cli.bar import bar

    if check:
        look = reproduction.check(home, run)
        click.echo(f"code: {look.code.said}")
        for line in look.differences:
            click.echo(f"not as recorded: {line}")
        if not look.differences:
            click.echo("Code, data, packages and machine are as recorded.")
        return 1 if look.differences else 0
    with bar("training again", goes_on=True) as progress:
        found, path = reproduction.reproduce(home, run, tolerance, click.echo, progress)
    tell(found)
    click.echo(f"Kept in {path}.")
    return 1 if found.verdict == "different" else 0


def tell(found: "Found") -> None:
    """Print how a run and its second training compare."""
    journals = found.journals
    if journals.parting is None:
        click.echo(f"journals: equal at {journals.steps} steps, {journals.names} values by name")
    else:
        at = journals.parting
        pair = f"{at.name} {shown(at.now)}, recorded was {shown(at.before)}"
        others = f"; {at.others} other values differ there" if at.others else ""
        click.echo(f"journals: part at step {at.step}: {pair} (relative difference {at.relative:.2g}){others}")
    if journals.missing:
        names = ", ".join(journals.missing[:5]) + (", ..." if len(journals.missing) > 5 else "")
        click.echo(f"journals: {len(journals.missing)} values are in one of them only: {names}")
    for name, weights in found.weights.items():
        click.echo(f"{name}: {of_weights(weights)}")
    if found.outcomes[0] != found.outcomes[1]:
        click.echo(f"outcome: {found.outcomes[1]}, recorded was {found.outcomes[0]}")
    if found.before is not None or found.now is not None:
        click.echo(f"{found.metric}: {shown(found.now)}, recorded was {shown(found.before)}")
    click.echo(f"{found.verdict}: {found.why}.")


def of_weights(weights: "Weights | None") -> str:
    """How two files of weights compare."""
    if weights is None:
        return "not compared, for only one of the two has it"
    if not weights.differing:
        return f"{weights.tensors} tensors, equal bit by bit"
    far = f"by up to {weights.greatest:.3g} ({weights.name})"
    return f"{weights.differing} of {weights.tensors} tensors differ, {far}"


def shown(value: float | None) -> str:
    """A value with as many digits as tell it from others."""
    return "no value" if value is None else f"{value:.9g}"
