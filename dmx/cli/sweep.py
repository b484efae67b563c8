"""`dmx sweep`."""

import re
from pathlib import Path
from typing import Any

import click

from dmx.cli.options import PROCESSES
from dmx.cli.options import home as home_option
from dmx.cli.options import overrides as overrides_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Convert `90s`, `30m`, `2h` or `1.5d` to seconds."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value)
    if found is None or float(found[1]) == 0:
        raise click.BadParameter(f"{value!r} is no duration; write for instance 90s, 30m, 2h or 1.5d.")
    return float(found[1]) * UNITS[found[2]]


def pool_options(command: Any) -> Any:
    """Add the options of a worker pool to a command."""
    for option in (
        click.option("--trials-per-device", type=PROCESSES, default=1, show_default=True, help="On a GPU."),
        click.option("--workers", type=PROCESSES, help="Trials at a time. [one for each GPU, or one]"),
        click.option("--timeout", metavar="TIME", callback=duration, help="Stop after this time, as 30m or 2h."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("study", type=UserPath())
@click.option("--trials", type=click.IntRange(1, 100_000), help="How many trials in all, over every start.")
@pool_options
@click.option("--storage", metavar="URL", help="A database that workers on many machines share.")
@click.option("--ray", "cluster", metavar="ADDRESS", help="Run trials as tasks of this Ray cluster: auto, ray://...")
@overrides_option
@home_option
def sweep(
    study: Path,
    trials: int | None,
    timeout: float | None,
    workers: int | None,
    trials_per_device: int,
    storage: str | None,
    cluster: str | None,
    overrides: tuple[str, ...],
    home: Home,
) -> int | None:
    """Search: run the trials of a study, going on where it was left."""
    from math import inf

    from dmx.cli.board import Board
    from dmx.config import load_study
    from dmx.sweep.process import ProcessPool
    from dmx.sweep.ray_pool import RayPool

    given = (*overrides, f"trials={trials}") if trials is not None else overrides
    config = load_study(study, given)
    from dmx.report import gather, page, write  # after mistakes in the study were found, as it takes a second

    def report(config: Any, queue: Any) -> list[Path]:
        return write(page(gather(config, queue.load_study(), home)), home.study(config.name))

    objective = config.experiment.objective
    with Board(objective, config.trials, config.experiment.epochs) as board:
        options = (board.row, workers, trials_per_device, storage, timeout or inf, board.begin, report)
        pool = RayPool(*options, cluster) if cluster else ProcessPool(*options)
        summary = pool.sweep(config, home)
    return conclude(config.name, home, summary, f"dmx sweep {study} --trials {summary.trials + 10}")


def conclude(name: str, home: Home, summary: Any, more: str) -> int | None:
    """Print the leaderboard and the next steps.

    Args:
        name: The study.
        home: The folder of results.
        summary: The progress of the study.
        more: How to run more trials.

    Returns:
        The exit code.
    """
    from dmx.cli.leaderboard import show_study
    from dmx.results.ranking import results

    entries = results(home, name)
    click.echo()
    if entries:
        show_study(name, home, f"Study {name}: {summary.finished} of {summary.trials} trials")
    if summary.unsent:
        click.echo(
            f"{summary.unsent} events are still on their way to the stores; nothing is lost: `dmx sync` sends the rest."
        )
    if summary.failed:
        click.echo(f"Error: {summary.stopped}. Fix the cause, then run the same command to continue.", err=True)
        return 1
    if summary.stopped:
        click.echo(f"Interrupted; {summary.stopped}.")
        return 130
    if not summary.ran:
        click.echo(f"The study is complete: nothing was run. For more: {more}")
    if not summary.complete:
        click.echo("No trial is complete: see the outcomes above and `dmx.reason` in MLflow.", err=True)
        return 1
    stored = sum(entry.result.outcome == "complete" for entry in entries)
    if stored < summary.complete:
        click.echo(
            f"The results of {summary.complete - stored} of {summary.complete} complete trials are not in "
            f"{home.root / 'runs'}, because they were removed or are on another machine: the leaderboard and "
            "`dmx train-best` go by the rest. Bring them back from a copy, or run all again under another `name`."
        )
    click.echo(f"The report is {home.study(name) / 'report.html'}.")
    click.echo(f"Next: `dmx train-best {name}` trains the best at full budget, `make ui` shows every run.")
    return None
