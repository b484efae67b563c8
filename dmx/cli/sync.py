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
    """Send to MLflow and TensorBoard what they still lack.

    What a store has lost is sent again; what was deleted in MLflow's page is not.
    """
    from dmx.cli.bar import bar
    from dmx.tracking import syncing

    with bar("sending") as progress:
        if rebuild:
            sent, aside = syncing.rebuild(home, progress)
        else:
            sent, aside = syncing.sync_all(home, progress), None
    if aside is not None:
        click.echo(
            f"The old store is in {aside}. Registered models are in no journal: `dmx train-best STUDY` registers a "
            "champion again. Start `dmx ui` anew."
        )
    if sent.trouble:
        click.echo(f"MLflow cannot be asked now: {sent.trouble}", err=True)
    if sent.deleted:
        names = ", ".join(sent.deleted[:5]) + (", ..." if len(sent.deleted) > 5 else "")
        click.echo(f"Left out: {len(sent.deleted)} whose run or experiment was deleted in MLflow ({names}).")
    missing, runs = sum(sent.left.values()), len(sent.left)
    if missing:
        click.echo(f"{runs} runs looked at; {missing} events could not be sent.")
    elif sent.trouble:
        click.echo(f"{runs} runs were sent once; whether MLflow still has them is not known.")
    else:
        click.echo(f"{runs - len(sent.deleted)} runs are whole.")
    return 1 if missing or sent.trouble else 0
