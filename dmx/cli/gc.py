"""`dmx gc`."""

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home


@click.command()
@click.option(
    "--best",
    default=3,
    show_default=True,
    type=click.IntRange(min=0),
    help="Best trials of each study that keep their weights.",
)
@click.option("--yes", is_flag=True, help="Remove the files; without this they are only listed.")
@home_option
def gc(best: int, yes: bool, home: Home) -> None:
    """Show disk usage, and remove files that are no longer needed.

    These are checkpoints of runs that have ended, weights of trials that were pruned, failed or are not among the best
    of their study, and packs of data that has changed since. Studies that have not ended, champions, runs with the tag
    dmx.keep in MLflow, and all metrics and pictures stay.
    """
    from rich.table import Table

    from dmx.cli.console import console
    from dmx.sweep.garbage import by_reason, disk_usage, find_garbage, remove

    screen = console()
    taken = disk_usage(home)
    table = Table(title=f"{home.root} takes {size(sum(sum(kinds.values()) for kinds in taken.values()))}", box=None)
    for column in ("study", "kind", "size"):
        table.add_column(column, justify="right" if column == "size" else "left")
    for study, kinds in taken.items():
        for i, (kind, amount) in enumerate(sorted(kinds.items(), key=lambda item: -item[1])):
            table.add_row("" if i else study, kind, size(amount))
    screen.print(table)
    garbage = list(find_garbage(home, best))
    if not garbage:
        click.echo("\nAll of it is needed.")
        return
    listing = Table(title="\nNo longer needed", title_justify="left", box=None)
    for column in ("study", "what", "why", "files", "size"):
        listing.add_column(column, justify="right" if column in ("files", "size") else "left")
    for (study, what, why), (count, amount) in by_reason(garbage).items():
        listing.add_row(study, what, why, str(count), size(amount))
    screen.print(listing)
    if yes:
        click.echo(f"\nRemoved; {size(remove(home, garbage))} are free again.")
    else:
        click.echo("\nNothing was removed; `dmx gc --yes` removes these.")


def size(amount: float) -> str:
    """Format a number of bytes for display."""
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
