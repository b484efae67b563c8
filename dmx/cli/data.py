"""`dmx data`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@click.group()
def data() -> None:
    """Make, import and look at data sets."""


@data.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option("--count", default=1000, show_default=True, type=click.IntRange(min=1), help="Quartets.")
@click.option("--size", default=64, show_default=True, type=click.IntRange(min=8), help="Pixels along each side.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The same seed, the same bytes.")
@click.option("--kind", default="metric", show_default=True, type=click.Choice(["metric", "relative"]))
def synth(out: Path, count: int, size: int, seed: int, kind: str) -> None:
    """Ray-cast quartets of procedural rooms into OUT, with exact depth, mask and background."""
    from typing import Literal, cast

    from dmx.data.synth import synth as make

    with bar("rendering") as progress:
        literal = cast("Literal['metric', 'relative']", kind)
        summary = make(out, count=count, size=size, seed=seed, kind=literal, progress=progress)
    click.echo(str(summary))


@data.command(name="import")
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


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
