"""`dmx data show`."""

from pathlib import Path

import click

from dmx.cli.paths import UserPath


@click.command()
@click.argument("root", type=UserPath(file_okay=False))
@click.argument("out", type=UserPath(dir_okay=False))
@click.option("--count", default=12, show_default=True, type=click.IntRange(min=1), help="Samples to draw.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="The same seed, the same ones.")
@click.option("--ids", help="These samples instead, with commas between.")
def show(root: Path, out: Path, count: int, seed: int, ids: str | None) -> None:
    """Draw samples of the data set ROOT into the picture OUT (PNG), spread over its groups."""
    from dmx.data.layout import read
    from dmx.data.sheet import show as draw
    from dmx.data.writing import write_picture
    from dmx.errors import UserError

    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: the sheet is written as PNG only; let its name end in .png.")
    names = [name.strip() for name in (ids or "").split(",") if name.strip()]
    index = read(root)
    index.refuse_pack("show")
    write_picture(out, draw(index, count=count, seed=seed, ids=names))
    click.echo(str(out))
