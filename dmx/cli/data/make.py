"""`dmx data synth`, `compose` and `import`: commands that make a data set."""

from pathlib import Path
from typing import Any

import click

from dmx.cli.bar import bar
from dmx.cli.data.pack import height_width
from dmx.cli.options import COUNT, SIDE, Finite
from dmx.cli.paths import UserPath

FOLDER = UserPath(file_okay=False)
FRACTION = Finite(0, 1, max_open=True)
METRES = Finite(min=0, min_open=True)


@click.command()
@click.argument("backgrounds", type=FOLDER)
@click.argument("cutouts", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.option("--count", type=COUNT, help="Quartets, drawn from all combinations; left out: all.")
@click.option(
    "--places", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Of each cut-out, each scene."
)
@click.option("--flip/--no-flip", default=True, show_default=True, help="Each cut-out mirrored too.")
@click.option("--size", default="192", show_default=True, metavar="S|HxW", help="Pixels; scenes are cut to its shape.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The same seed, the same bytes.")
@click.option(
    "--part", type=click.Choice(["train", "val", "test"]), help="Take only this official part of BACKGROUNDS."
)
@click.option("--val", default=0.15, show_default=True, type=FRACTION, help="Of scenes and of cut-outs; 0: none.")
@click.option("--test", default=0.15, show_default=True, type=FRACTION, help="The same for the test.")
@click.option(
    "--fov",
    default=45.0,
    show_default=True,
    help="Vertical field of view of the scenes, in degrees.",
)
@click.option("--object-height", nargs=2, default=(1.5, 1.9), show_default=True, type=METRES, help="Metres, LOW HIGH.")
@click.option("--distance", nargs=2, default=(1.5, 6.0), show_default=True, type=METRES, help="Metres, LOW HIGH.")
@click.option("--depth-model", metavar="FILE.onnx|hf:NAME", help="Estimates relative depth; needs dmx[depth].")
@click.option(
    "--near",
    default="high",
    show_default=True,
    type=click.Choice(["low", "high"]),
    help="Which of the model's numbers are near.",
)
@click.option("--format", "form", default="png", show_default=True, type=click.Choice(["png", "jpg"]))
def compose(backgrounds: Path, cutouts: Path, out: Path, size: str, **given: Any) -> None:
    """Compose quartets of CUTOUTS before BACKGROUNDS into OUT, with metric depth where these have it.

    BACKGROUNDS is a folder of pictures, or a data set whose images are taken, with its groups and official split;
    CUTOUTS a folder of RGBA PNG. Scenes and cut-outs of train, val and test are disjoint. Before scenes with metric
    depth a cut-out stands on the floor at a drawn distance, in the size that follows from it, hidden by what is nearer;
    --fov is 44.6 for the 320x240 frames of NYU Depth V2 and 49.6 for its official file. Others give a set without
    depth, or with what --depth-model says of the composed image. jpg takes less space, but then image and background
    differ a little everywhere. Stopped, the same command goes on.
    """
    from dmx.datatools.compose import Recipe, Wanted, find_sources
    from dmx.datatools.compose import compose as make

    sides = height_width(size)
    wanted = Wanted(
        **{name: given.pop(name) for name in ("count", "places", "flip")}, val=given["val"], test=given["test"]
    )
    parts = {name: given.pop(name) for name in ("part", "val", "test")}
    sources = find_sources(backgrounds, cutouts, seed=given["seed"], model=given["depth_model"] is not None, **parts)
    with bar("composing", goes_on=True) as progress:
        summary = make(sources, out, Recipe(size=sides, **given), wanted, progress=progress)
    click.echo(str(summary))
    if sources.depth is None and given["depth_model"] is None:
        click.echo("It has no depth, so nothing can be trained on it: the scenes have none; see --depth-model.")


@click.command()
@click.argument("out", type=UserPath(file_okay=False))
@click.option("--count", default=1000, show_default=True, type=COUNT, help="Quartets.")
@click.option("--size", default=64, show_default=True, type=SIDE, help="Pixels along each side.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The same seed, the same bytes.")
@click.option("--kind", default="metric", show_default=True, type=click.Choice(["metric", "relative"]))
@click.option("--per-room", default=4, show_default=True, type=COUNT, help="Quartets of each room.")
def synth(out: Path, count: int, size: int, seed: int, kind: Any, per_room: int) -> None:
    """Ray-cast quartets of procedural rooms into OUT, with exact depth, mask and background.

    The quartets of a room share its background and are one group. With few of each room a network sees more rooms,
    and predicts others better; a room takes longer to make than a quartet.
    """
    from dmx.datatools.synth import synth as make

    with bar("rendering") as progress:
        summary = make(out, count=count, size=size, seed=seed, kind=kind, per_room=per_room, progress=progress)
    click.echo(str(summary))


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
    import dmx.datatools.importers  # noqa: F401 - registers our importers; loading all components takes 5 s
    from dmx.errors import UserError, did_you_mean
    from dmx.registry import importers, load

    if importer not in importers:
        load()  # a plug-in may register it
    if importer not in importers:
        raise UserError(f"no importer '{importer}'; {did_you_mean(importer, importers)}")
    with bar("importing") as progress:
        summary = importers[importer].params().bind()(source, out, progress, copy)
    click.echo(str(summary))
