"""`dmx sweep`."""

from pathlib import Path

import click

from dmx.cli.options import home as home_option
from dmx.cli.options import overrides as overrides_option
from dmx.tracking.home import Home


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option("--trials", type=click.IntRange(min=1), help="How many trials in all, over every start.")
@overrides_option
@home_option
def sweep(study: Path, trials: int | None, overrides: tuple[str, ...], home: Home) -> int | None:
    """Search: run the trials of a study, going on where it was left."""
    from dmx.cli.table import show
    from dmx.cli.watch import Watch
    from dmx.config import load_study
    from dmx.experiment.ranking import rank, results
    from dmx.outcome import Outcome
    from dmx.sweep.engine import sweep as run_sweep

    given = (*overrides, f"trials={trials}") if trials is not None else overrides
    config = load_study(study, given)
    with Watch(config.experiment.objective) as watch:
        summary = run_sweep(config, home, watch)
    entries = rank(results(home, config.name))
    click.echo()
    if entries:
        show(entries, f"Study {config.name}: {summary.finished} of {summary.trials} trials")
    if summary.unsent:
        click.echo(
            f"{summary.unsent} events are still on their way to the stores; nothing is lost: `dmx sync` sends the rest."
        )
    if summary.stopped:
        click.echo(f"Interrupted; {summary.stopped}.")
        return 130
    if not summary.ran:
        click.echo(
            f"The study is complete: nothing was run. For more: dmx sweep {study} --trials {summary.trials + 10}"
        )
    if not any(entry.result.outcome is Outcome.COMPLETE for entry in entries):
        click.echo("No trial is complete: see the outcomes above and `dmx.reason` in MLflow.", err=True)
        return 1
    click.echo(f"Next: `dmx train-best {config.name}` trains the best at full budget, `make ui` shows every run.")
    return None
