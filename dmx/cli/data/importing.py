"""`dmx data import`."""

from pathlib import Path

import click

from dmx.cli.bar import bar
from dmx.cli.paths import UserPath


@click.command(name="import")
@click.argument("importer")
@click.argument("source", type=UserPath())
@click.argument("out", type=UserPath(file_okay=False))
@click.option("--copy", is_flag=True, help="Copy the pictures into OUT, also those that could stay where they are.")
def import_(importer: str, source: Path, out: Path, copy: bool) -> None:
    """Bring the data set at SOURCE into the canonical folder OUT.

    IMPORTER is one of those that `dmx list importers` names; `dmx describe importers NAME` says what each takes. OUT
    becomes a list that names the pictures where they are, unless they have to be unpacked or --copy is given.
    """
    import dmx.data.importers  # noqa: F401 - it registers ours; all components would take 5 s to load
    from dmx.errors import UserError, did_you_mean
    from dmx.registry import importers, load

    if importer not in importers:
        load()  # a plug-in's
    if importer not in importers:
        raise UserError(f"no importer '{importer}'; {did_you_mean(importer, importers)}")
    with bar("importing") as progress:
        summary = importers[importer].params().bind()(source, out, progress, copy)
    click.echo(str(summary))
