"""`dmx leaderboard`."""

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home


@click.command()
@click.argument("study", required=False)
@click.option("--top", type=click.IntRange(min=1), help="Show only so many.")
@home_option
def leaderboard(study: str | None, top: int | None, home: Home) -> None:
    """Rank the runs of a study, or all single runs."""
    from dmx.cli.table import show
    from dmx.errors import UserError, did_you_mean
    from dmx.experiment.ranking import rank, results

    entries = results(home, study)
    if not entries:
        known = sorted(path.name for path in (home.root / "studies").glob("*/"))
        what = f"study '{study}' has no finished run" if study else "no single run has finished"
        raise UserError(f"{what} in {home.root}; studies there: {did_you_mean(study or '', known)}")
    if study:
        show_study(study, home, f"Study {study}", top)
    else:
        show(rank(entries), "Single runs", top)


def show_study(name: str, home: Home, title: str, top: int | None = None) -> None:
    """The trials of a study, best first by its objective, or by all of its objectives."""
    from dmx.cli.table import show
    from dmx.experiment.ranking import rank, results
    from dmx.sweep.best import stored_study
    from dmx.sweep.judging import rank_several

    goals = stored_study(home, name).goals
    if len(goals) == 1:
        show(rank(results(home, name)), title, top)
        return
    entries, front, knee = rank_several(results(home, name), goals)
    show(entries, title, top, [goal.metric for goal in goals])
    named = ", ".join(f"{goal.metric} ({goal.direction})" for goal in goals)
    click.echo(f"By {named}: the first {front} are the front, where none is beaten in everything; its knee is {knee}.")
