"""`dmx worker`."""

import click

from dmx.cli.options import home as home_option
from dmx.cli.sweep import conclude, crew_options
from dmx.tracking.home import Home


@click.command()
@click.argument("study")
@click.option("--storage", metavar="URL", required=True, help="The database in which `dmx sweep` has begun the study.")
@crew_options
@home_option
def worker(
    study: str, storage: str, timeout: float | None, workers: int | None, trials_per_device: int, home: Home
) -> int | None:
    """Join a sweep that was begun with a database, from this machine."""
    from math import inf

    from dmx.cli.board import Board
    from dmx.sweep.agreement import agreed
    from dmx.sweep.crew import Crew

    _, config, _ = agreed(study, storage)
    objective = config.experiment.objective
    with Board(objective, config.trials, config.experiment.epochs) as board:
        crew = Crew(board.row, workers, trials_per_device, storage, timeout or inf, board.begin)
        summary = crew.join(study, home)
    return conclude(study, home, summary, "raise `trials` of the sweep that began it")
