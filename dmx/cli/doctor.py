"""`dmx doctor`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmx.cli.options import home as home_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dmx.doctor.finding import Finding

COLOURS = {"ok": "green", "warning": "yellow", "wrong": "red"}


@click.command()
@click.option(
    "--data",
    type=UserPath(exists=True, file_okay=False),
    help="The folder whose data sets are looked at.  [data, which need not be there]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
@home_option
def doctor(data: Path | None, as_json: bool, home: Home) -> int:
    """Check packages, devices, machine, results and data.

    Packages and extras; devices and precisions, each tried by a small network; cores, memory and disk; MLflow's
    database, journals and locks; data sets; and what in the environment changes a result. Nothing is changed. The exit
    code is 1 if something is wrong.
    """
    from functools import partial

    from dmx.cli.bar import bar
    from dmx.doctor.devices import devices
    from dmx.doctor.machine import environment, machine
    from dmx.doctor.packages import packages
    from dmx.doctor.stores import data_sets, stores

    looks = (partial(machine, home.root), partial(stores, home), partial(data_sets, data or Path("data")))
    parts: list[Callable[[], Iterable[Finding]]] = [packages, devices, *looks, environment]
    found: list[Finding] = []
    with bar("looking") as progress:
        for done, look in enumerate(parts):
            progress(done, len(parts))
            found += look()
    if as_json:
        click.echo(json.dumps([vars(one) for one in found], indent=1))
    else:
        show(found)
    return int(any(one.state == "wrong" for one in found))


def show(found: "list[Finding]") -> None:
    """Print a line for each finding, with what to do where something is not as it should be."""
    section = ""
    for one in found:
        if one.section != section:
            section = one.section
            click.secho(f"\n{section}" if one is not found[0] else section, bold=True)
        click.echo(f"  {click.style(f'{one.state:<8}', fg=COLOURS[one.state])} {one.what}")
        if one.advice:
            click.echo(f"           {one.advice}")
    bad = {state: sum(one.state == state for one in found) for state in ("wrong", "warning")}
    click.echo("\nNothing is wrong." if not bad["wrong"] else f"\n{bad['wrong']} wrong, {bad['warning']} warnings.")
