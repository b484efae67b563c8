"""`dmx sync`."""

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home


@click.command()
@home_option
def sync(home: Home) -> int:
    """Send to MLflow and TensorBoard what they still lack."""
    from dmx.tracking import sync as sync_run

    runs = sorted(path.parent.name for path in (home.root / "runs").glob("*/journal.jsonl"))
    left = {run: sync_run(home, run) for run in runs}
    missing = sum(left.values())
    click.echo(
        f"{len(runs)} runs looked at; {missing} events could not be sent."
        if missing
        else f"{len(runs)} runs are whole."
    )
    return 1 if missing else 0
