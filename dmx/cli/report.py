"""`dmx report`."""

from pathlib import Path

import click

from dmx.cli.options import home as home_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import REPORT, Home


@click.command()
@click.argument("study")
@click.option("--out", type=UserPath(dir_okay=False), help="The page's file. [report.html in the study's folder]")
@click.option("--storage", metavar="URL", help="The database of the study, if it was started with one.")
@home_option
def report(study: str, out: Path | None, storage: str | None, home: Home) -> None:
    """Write what a study came to as one HTML page.

    It shows what was searched, which trial won and whether its lead is more than the noise of seeds, which parameters
    mattered, what failed, what pruning saved, and pictures. The page needs no network and no other file.
    """
    from dmx.report import gather, page
    from dmx.stored import replace_text
    from dmx.sweep.definition import load_trials

    config, queue = load_trials(home, study, storage)
    written = page(gather(config, queue.load_study(), home))
    path = out or home.study(study) / REPORT
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, written)
    click.echo(f"Wrote {path} ({len(written) / 1e6:.1f} MB).")
