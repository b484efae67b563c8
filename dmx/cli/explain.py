"""`dmx explain`."""

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home


@click.command()
@click.argument("study")
@click.argument("trial", type=click.IntRange(min=0))
@click.option("--storage", metavar="URL", help="The database of the study, if it has one.")
@home_option
def explain(study: str, trial: int, storage: str | None, home: Home) -> None:
    """Tell what became of a trial, and why."""
    from dmx.errors import UserError
    from dmx.sweep.judging import story
    from dmx.sweep.stored import stored_trials

    config, claims = stored_trials(home, study, storage)
    trials = claims.trials()
    if trial >= len(trials):
        there = f"its trials are 0 to {len(trials) - 1}" if trials else "none has begun yet"
        raise UserError(f"study '{study}' has no trial {trial}; {there}.")
    for line in story(trials, trial, config):
        click.echo(line)
