"""`dmx train-best`."""

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home


@click.command(name="train-best")
@click.argument("study")
@click.option("--pick", metavar="METRIC|knee", help="Of several objectives, the one that decides. [knee]")
@home_option
def train_best(study: str, pick: str | None, home: Home) -> int | None:
    """Retrain a study's best trial and register the champion.

    The best trial's configuration is trained at the study's full budget with each of the study's seeds. The seed that
    is best on validation becomes the champion; test is read for it alone, once. Where the champion changes, what was
    read for the earlier one stays on record, and for which networks test was read is said.
    """
    from dmx.cli.table import show, tell_standings
    from dmx.cli.watch import Watch
    from dmx.compare.columns import extras
    from dmx.report.evaluation import evaluation_page
    from dmx.results.references import references_of_entries
    from dmx.sweep.definition import load_config
    from dmx.sweep.retrain import train_best as run_best

    config = load_config(home, study)
    with Watch(config.experiment.objective) as watch:
        report = run_best(study, home, watch, pick, evaluation_page)
    if report.interrupted or report.prepared is None:
        click.echo("Interrupted; the same command goes on.")
        return 130
    click.echo()
    references = references_of_entries(home, report.seeds)
    show(report.seeds, f"{report.trial} at full budget", extras=extras(home, report.seeds))
    metrics = [name for name in report.seeds[0].record["best"]["metrics"] if report.spread(name)]
    ended = sum(entry.result.outcome == "complete" for entry in report.seeds)
    click.echo(f"\nValidation over {ended} of {len(report.seeds)} seeds (mean ± deviation); the champion on test:")
    for name in metrics:
        mean, deviation = report.spread(name) or (0.0, 0.0)
        test = (report.test or {}).get(name.replace("val/", "test/", 1))
        shown = "-" if test is None else f"{test:.4f}"
        click.echo(f"  {name.removeprefix('val/'):32} {mean:10.4f} ± {deviation:.4f}   test {shown}")
    tell_standings(references, report.seeds[0], [goal.metric for goal in config.goals])
    if report.readings:
        click.echo(report.readings)
    from dmx.deliver.champion import ALIAS, register

    version = register(home, report.prepared, report.champion, report.study, report.trial)
    click.echo(f"\nRegistered {report.champion} as models:/{study}@{ALIAS} (version {version}).")
    return None
