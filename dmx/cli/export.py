"""`dmx export`."""

from pathlib import Path
from typing import Any

import click

from dmx.cli import options
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home


@click.command()
@click.argument("run")
@click.argument("out", type=UserPath())
@click.option("--format", "form", type=click.Choice(("onnx", "pt2")), help="Of the file.  [what OUT ends in]")
@click.option(
    "--size",
    metavar="HxW",
    help="The size that the network takes, one side or two, in pixels, or `dynamic` for any.  [the last stage's]",
)
@click.option(
    "--precision",
    type=click.Choice(("float32", "float16", "int8")),
    default="float32",
    show_default=True,
    help="int8 is calibrated on the run's training pictures, and measured on its validation pictures.",
)
@click.option(
    "--bundle",
    "bundled",
    is_flag=True,
    help="Make OUT a folder: the ONNX file, its model card, the weights, the configuration, checksums.",
)
@options.calibration
@options.home
def export(
    run: str,
    out: Path,
    form: Any,
    size: str | None,
    precision: Any,
    calibration: str | None,
    bundled: bool,
    home: Home,
) -> None:
    """Write a run's network as a file that needs no dmx.

    RUN is a run's name, OUT a new file: .onnx for ONNX Runtime and whatever reads ONNX, .pt2 for torch.export. The
    network takes uint8 RGB pictures, (batch, height, width, 3), `image` and where it wants it `background`, and gives
    `depth` in the unit of the data and `mask`, the probability of the object, (batch, height, width).

    The file is loaded in a process of its own and compared with what `dmx predict` gives on pictures of the run's own
    data; if it differs by more than the tolerance, nothing is written. Needs dmx[depth].

    With --bundle OUT is a new folder to hand over, which `dmx push` sends to a model hub.
    """
    from dmx.cli.bar import bar
    from dmx.cli.data.pack import height_width
    from dmx.deliver.bundle.names import CARD, NETWORK
    from dmx.deliver.bundle.write import bundle
    from dmx.deliver.export.samples import Samples
    from dmx.deliver.export.write import Form, mask_threshold
    from dmx.deliver.export.write import export as made
    from dmx.experiment.trained import trained

    if bundled and calibration:
        raise click.UsageError("a bundle's card has the run's own figures; leave out --calibration, or --bundle.")
    suffix = (form or "onnx") if bundled else out.suffix.lower().removeprefix(".")
    if suffix not in ("onnx", "pt2") or (form or suffix) != suffix:
        raise click.UsageError(f"{out}: give OUT a name that ends in .{form or 'onnx'}{'' if form else ' or .pt2'}.")
    sides = None if size in (None, "dynamic") else height_width(str(size))
    network = trained(home, run, calibration)
    with bar("exporting") as progress:
        samples = Samples(network, home, progress)
        wanted = Form("onnx" if suffix == "onnx" else "pt2", sides, size == "dynamic", precision)
        threshold = mask_threshold(home, run)
        if bundled:
            facts = bundle(home, network, out, wanted, samples, threshold)
        else:
            facts = made(network, out, wanted, samples, threshold)
    show(out / NETWORK if bundled else out, facts)
    if bundled:
        click.echo(f"{out / CARD} says what is known of the network; complete its licence before you pass it on.")


def show(out: Path, facts: Any) -> None:
    """Print what was written, and how far it is from the run."""
    what = f"ONNX, opset {facts.opset}" if facts.opset else "torch.export"
    sides = "x".join(map(str, facts.size))
    sizes = f"any multiples of {facts.multiple}, best {sides}" if facts.dynamic else sides
    click.echo(f"Wrote {out}: {out.stat().st_size / 1e6:.1f} MB, {what}, {facts.precision}, pictures of {sizes}.")
    apart = facts.difference
    click.echo(
        f"Loaded in a process of its own, on {apart['what']}: the difference from the run is at most "
        f"{apart['depth']['greatest']:.2g} in depth (mean {apart['depth']['mean']:.2g}) and "
        f"{apart['mask']['greatest']:.2g} in the mask's probability (mean {apart['mask']['mean']:.2g}), relative to "
        "max(1, value)."
    )
    for name, before in apart.get("float32", {}).items():
        click.echo(f"On validation, {name}: {before:.4g} in float32, {apart['int8'][name]:.4g} in int8.")
