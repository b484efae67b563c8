"""`dmx sync`."""

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home


@click.command()
@click.option(
    "--rebuild", is_flag=True, help="Make both stores anew from the runs' journals; an old store is set aside."
)
@home_option
def sync(rebuild: bool, home: Home) -> int:
    """Send to MLflow and TensorBoard what they still lack."""
    from dmx.cli.bar import bar
    from dmx.tracking import syncing

    with bar("sending") as progress:
        if rebuild:
            left, aside = syncing.rebuild(home, progress)
        else:
            left, aside = syncing.sync_all(home, progress), None
    if aside is not None:
        click.echo(
            f"The old store is in {aside}. Registered models are in no journal: `dmx train-best STUDY` registers a "
            "champion again. Start `dmx ui` anew."
        )
    missing = sum(left.values())
    click.echo(
        f"{len(left)} runs looked at; {missing} events could not be sent."
        if missing
        else f"{len(left)} runs are whole."
    )
    return 1 if missing else 0
