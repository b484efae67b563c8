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
    show(rank(entries), f"Study {study}" if study else "Single runs", top)
