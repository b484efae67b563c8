"""`dmx explain`."""

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home


@click.command()
@click.argument("study")
@click.argument("trial", type=click.IntRange(min=0))
@click.option("--storage", metavar="URL", help="The database of the study, if it was started with one.")
@home_option
def explain(study: str, trial: int, storage: str | None, home: Home) -> None:
    """Tell what became of a trial, and why.

    STUDY is the study's name, TRIAL the number of the trial, as in its run's name: 17 for mine-0017.
    """
    from dmx.errors import UserError
    from dmx.sweep.definition import load_trials
    from dmx.sweep.pruning import explain_trial

    config, queue = load_trials(home, study, storage)
    trials = queue.trials()
    if trial >= len(trials):
        there = f"its trials are 0 to {len(trials) - 1}" if trials else "none has begun yet"
        raise UserError(f"study '{study}' has no trial {trial}; {there}.")
    for line in explain_trial(trials, trial, config):
        click.echo(line)
