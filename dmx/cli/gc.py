"""`dmx gc`."""

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home


@click.command()
@click.option(
    "--best", default=3, show_default=True, type=click.IntRange(min=0), help="Trials of each study that keep weights."
)
@click.option("--yes", is_flag=True, help="Remove what nobody needs; without this nothing is removed.")
@home_option
def gc(best: int, yes: bool, home: Home) -> None:
    """Tell what takes room on the disk, and remove what nobody needs.

    That is: checkpoints of runs that have ended, weights of trials that were pruned, failed, or are not among the best
    of their study, and packs of data that have changed since. Studies that have not ended, champions, runs with the tag
    dmx.keep in MLflow, and all numbers and pictures stay.
    """
    from rich.console import Console
    from rich.table import Table

    from dmx.sweep.disk import by_reason, remove, room, spare

    console = Console() if Console().is_terminal else Console(width=200)
    taken = room(home)
    table = Table(title=f"{home.root} takes {size(sum(sum(kinds.values()) for kinds in taken.values()))}", box=None)
    for column in ("study", "kind", "size"):
        table.add_column(column, justify="right" if column == "size" else "left")
    for study, kinds in taken.items():
        for i, (kind, amount) in enumerate(sorted(kinds.items(), key=lambda item: -item[1])):
            table.add_row("" if i else study, kind, size(amount))
    console.print(table, highlight=False)
    spares = list(spare(home, best))
    if not spares:
        click.echo("\nAll of it is needed.")
        return
    listing = Table(title="\nNobody needs", title_justify="left", box=None)
    for column in ("study", "what", "why", "files", "size"):
        listing.add_column(column, justify="right" if column in ("files", "size") else "left")
    for (study, what, why), (count, amount) in by_reason(spares).items():
        listing.add_row(study, what, why, str(count), size(amount))
    console.print(listing, highlight=False)
    if yes:
        click.echo(f"\nRemoved; {size(remove(home, spares))} are free again.")
    else:
        click.echo("\nNothing was removed; `dmx gc --yes` removes these.")


def size(amount: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
