"""`dmx report`."""

from pathlib import Path

import click

from dmx.cli.options import home as home_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home


@click.command()
@click.argument("study")
@click.option("--out", type=UserPath(dir_okay=False), help="The page; without it, report.html of the study.")
@click.option("--storage", metavar="URL", help="The database of the study, if it has one.")
@home_option
def report(study: str, out: Path | None, storage: str | None, home: Home) -> None:
    """Write what a study came to as one HTML page.

    The page needs no network and no other file: what was searched, what won and by how much beyond the noise of seeds,
    what mattered, what failed, what pruning saved, and pictures.
    """
    from dmx.report import gather, page
    from dmx.sweep.stored import stored_trials
    from dmx.tracking.files import replace_text

    config, claims = stored_trials(home, study, storage)
    written = page(gather(config, claims.fresh(), home))
    path = out or home.study(study) / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, written)
    click.echo(f"Wrote {path} ({len(written) / 1e6:.1f} MB).")
