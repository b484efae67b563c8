"""`dmx worker`."""

import click

from dmx.cli.options import home as home_option
from dmx.cli.sweep import conclude, pool_options
from dmx.tracking.home import Home


@click.command()
@click.argument("study")
@click.option("--storage", metavar="URL", required=True, help="The database in which `dmx sweep` has begun the study.")
@pool_options
@home_option
def worker(
    study: str, storage: str, timeout: float | None, workers: int | None, trials_per_device: int, home: Home
) -> int | None:
    """Join a sweep that was begun with a database, from this machine."""
    from math import inf

    from dmx.cli.board import Board
    from dmx.sweep.definition import load_shared
    from dmx.sweep.process import ProcessPool

    _, config, _ = load_shared(study, storage)
    objective = config.experiment.objective
    with Board(objective, config.trials, config.experiment.epochs) as board:
        pool = ProcessPool(board.row, workers, trials_per_device, storage, timeout or inf, board.begin)
        summary = pool.join(study, home)
    return conclude(study, home, summary, "raise `trials` of the sweep that began it")
