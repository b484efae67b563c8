"""`dmx train-best`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import CHAMPION_PICTURE, Home

if TYPE_CHECKING:
    from dmx.compare.race import Finalist
    from dmx.results.ranking import Entry


@click.command(name="train-best")
@click.argument("study")
@click.option("--pick", metavar="METRIC|knee", help="Of several objectives, the one that decides. [bounds, knee]")
@home_option
def train_best(study: str, pick: str | None, home: Home) -> int | None:
    """Retrain a study's best trials and register the champion.

    The configurations of the study's finalists, its best trials, are trained at its full budget with one of its seeds
    after another; from the second seed on, those that are clearly worse are out. Of the one that is best over its seeds
    the seed that is best on validation becomes the champion; test is read for it alone, once. Where the champion
    changes, what was read for the earlier one stays on record, and for which networks test was read is said.
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
    if report is None:
        click.echo("Interrupted; the same command goes on.")
        return 130
    click.echo()
    references = references_of_entries(home, report.seeds)
    show(report.seeds, f"{report.trial} at full budget", extras=extras(home, report.seeds))
    ended = sum(entry.result.outcome == "complete" for entry in report.seeds)
    over = f"over {ended} of {len(report.seeds)} seeds (mean ± deviation)" if len(report.seeds) > 1 else "of one seed"
    click.echo(f"\nValidation {over}; the champion on test:")
    for name in report.seeds[0].record["best"]["metrics"]:
        if (spread := report.spread(name)) is None:
            continue
        mean, deviation = spread
        test = (report.test or {}).get(name.replace("val/", "test/", 1))
        shown = "-" if test is None else f"{test:.4f}"
        around = "" if deviation is None else f" ± {deviation:.4f}"
        click.echo(f"  {name.removeprefix('val/'):32} {mean:10.4f}{around}   test {shown}")
    tell_finalists(report.finalists, report.trials)
    goals = [goal.metric for goal in config.goals]
    tell_standings(references, report.seeds[0], goals)
    tell_gain(home, study, report.seeds[0], goals)
    if report.readings:
        click.echo(report.readings)
    from dmx.deliver.champion import ALIAS, register

    version = register(home, report.prepared, report.champion, report.study, report.trial)
    click.echo(f"\nRegistered {report.champion} as models:/{study}@{ALIAS} (version {version}).")
    return None


def tell_finalists(finalists: "Sequence[Finalist]", trials: int) -> None:
    """Print the means of the finalists over their seeds, and how sure the choice is."""
    from dmx.compare.race import certainty, compared

    if len(finalists) < 2:
        return
    click.echo(f"\n{len(finalists)} of {trials} complete trials were trained anew; mean over seeds:")
    for one in finalists:
        values, seeds = ", ".join(f"{value:.4g}" for value in one.values), f"{one.seeds} seed" + "s" * (one.seeds > 1)
        click.echo(f"  {one.trial}: {values} ({seeds})" + (f": {compared(one)}" if one.differences else ""))
    click.echo(certainty(finalists))


def tell_gain(home: Home, study: str, champion: "Entry", goals: Sequence[str]) -> None:
    """Print what the champion gained over the first trial, the experiment as it stands, and draw both side by side."""
    from dmx.compare.pictures import side_by_side
    from dmx.errors import UserError
    from dmx.results.ranking import results
    from dmx.stored import replace_bytes
    from dmx.tracking.panel import png

    first = next((one for one in results(home, study) if one.record["tags"].get("dmx.trial") == "0"), None)
    if first is None or first.result.best is None or champion.result.best is None:
        return
    before, after = first.result.best.metrics, champion.result.best.metrics
    known = [(name, before.get(name), after.get(name)) for name in goals]
    gains = [f"{name} {old:.4g} -> {new:.4g}" for name, old, new in known if old is not None and new is not None]
    stages = first.record["params"]["stages"], champion.record["params"]["stages"]
    click.echo(
        f"Trial 0, the experiment as it stands ({stages[0]}), and the champion ({stages[1]}): {', '.join(gains)}."
    )
    path = home.study(study) / CHAMPION_PICTURE
    try:
        picture = side_by_side(home, [first.run, champion.run])
    except UserError as error:
        click.echo(f"No pictures of both: {error}")
        return
    replace_bytes(path, png(picture))
    click.echo(f"Wrote {path}: validation samples, trial 0 above, the champion below; `dmx report {study}` shows it.")
