"""`dmx data import`."""

from pathlib import Path

import click

from dmx.cli.bar import bar


@click.command(name="import")
@click.argument("importer")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def import_(importer: str, source: Path, out: Path) -> None:
    """Bring the data set at SOURCE into the canonical folder OUT.

    IMPORTER is one of those that `dmx list importers` names.
    """
    from dmx.errors import UserError, did_you_mean
    from dmx.registry import importers, load

    load()
    if importer not in importers:
        raise UserError(f"no importer '{importer}'; {did_you_mean(importer, importers)}")
    with bar("importing") as progress:
        summary = importers[importer].params().bind()(source, out, progress)
    click.echo(str(summary))
