"""`dmx train`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dmx.cli.options import home as home_option
from dmx.cli.options import overrides as overrides_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import CONFIG, JOURNAL, Home
from dmx.written import read_yaml

if TYPE_CHECKING:
    from dmx.config import ExperimentConfig


@click.command()
@click.argument("experiment", type=UserPath(), required=False)
@overrides_option
@click.option("--resume", metavar="RUN", help="Go on with this run instead, with its own configuration.")
@home_option
def train(experiment: Path | None, overrides: tuple[str, ...], resume: str | None, home: Home) -> int | None:
    """Train one experiment, going on where it was left.

    The run's name follows from the configuration, so the same command goes on with the same run.

    Several GPUs train one model together under torchrun: torchrun --nproc-per-node 4 -m dmx train EXPERIMENT.
    """
    from dmx.cli.watch import Watch
    from dmx.experiment import UNFINISHED, RunOptions, Tracking, prepare, remove_unneeded_files, run, run_id_of
    from dmx.experiment.initial_weights import check_weights_of_ended
    from dmx.outcome import Outcome
    from dmx.results.records import read_result
    from dmx.training.distributed import join_process_group, rank

    config = configured(experiment, overrides, resume, home)
    run_id = resume or run_id_of(config)
    done = read_result(home.run(run_id))
    if done is not None and done[0].outcome not in UNFINISHED:
        check_weights_of_ended(done[1], config, home, f"run {run_id}")
        remove_unneeded_files(home.run(run_id), done[0].outcome, config)
        click.echo(f"Run {run_id} has ended already ({done[0].outcome}): equal configurations are one run.")
        click.echo("For another one change something, as in -s seed=1.")
        return 0 if done[0].outcome is Outcome.COMPLETE else 1
    with join_process_group(config.training.device), Watch(config.objective, quiet=rank() > 0) as watch:
        prepared = prepare(config, home, watch.loading)
        watch.console.print(
            f"[bold]{run_id}[/]: {config.model.component.name}, {prepared.parameters:,} parameters, "
            f"{len(prepared.split.train)} training and {len(prepared.split.val)} validation samples, "
            f"{', '.join(f'{key} {value}' for key, value in prepared.device_config.facts().items())}"
        )
        tracking = Tracking(config.name, {"dmx.role": "run"})
        result, unsent = run(prepared, home, run_id, tracking, RunOptions(progress=watch))
        watch.trial_finished(0, result)
        others = rank() > 0
    if others:  # the first process speaks for all
        return None
    if unsent:
        click.echo(f"{unsent} events are still on their way to the stores; nothing is lost: `dmx sync` sends the rest.")
    if result.outcome is Outcome.INTERRUPTED:
        click.echo("The same command goes on.")
        return 130
    show_standing(home, run_id)
    click.echo(f"Results are in {home.run(run_id)}; `make ui` shows them.")
    return 0 if result.outcome is Outcome.COMPLETE else 1


def show_standing(home: Home, run_id: str) -> None:
    """Print how a run that has ended stands against the references, by its objective."""
    from dmx.cli.table import tell_standings
    from dmx.results.ranking import Entry
    from dmx.results.records import read_result
    from dmx.results.references import references_of

    found = read_result(home.run(run_id))
    assert found is not None  # the run has just written it
    entry = Entry(run_id, *found)
    tell_standings(references_of(home, [entry.record]), entry, [entry.record["objective"]["metric"]])


def configured(
    experiment: Path | None, overrides: tuple[str, ...], resume: str | None, home: Home
) -> "ExperimentConfig":
    """Load the configuration from a file with overrides, or from the run to resume."""
    from dmx.config import load_experiment, parse_experiment

    if resume is None:
        if experiment is None:
            raise click.UsageError("give the YAML of an experiment, or --resume RUN.")
        return load_experiment(experiment, overrides)
    if experiment is not None or overrides:
        raise click.UsageError("--resume takes the run's own configuration: give neither a file nor -s beside it.")
    stored = home.run(resume) / CONFIG
    if not stored.is_file():
        raise home.no_run(resume)
    refuse_trials(home.run(resume) / JOURNAL)
    return parse_experiment(read_yaml(stored), str(stored))


def refuse_trials(journal: Path) -> None:
    """Refuse to resume a run of a study, which must be resumed by `dmx sweep`: only that updates the study's records.

    Raises:
        UserError: The journal is that of a study's run.
    """
    from dmx.errors import UserError
    from dmx.tracking.journal import started

    first = started(journal)
    if first is not None and (study := first.tags.get("dmx.study")) is not None:
        raise UserError(
            f"this run belongs to study '{study}'; `dmx sweep` or `dmx train-best {study}` goes on with it."
        )
