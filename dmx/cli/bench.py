"""`dmx bench`."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmx.cli.options import home as home_option
from dmx.tracking.home import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmx.deliver.bench.variants import Size, Variant
    from dmx.experiment.trained import Trained

MOST = 1024
"""Pictures of a batch."""


def numbers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Parse sizes of batches, as in `1,4,16`.

    Raises:
        BadParameter: They are no numbers, or out of range.
    """
    found = [int(one) if re.fullmatch("[0-9]{1,4}", one) else 0 for one in value.split(",")]
    if not all(1 <= one <= MOST for one in found):
        raise click.BadParameter(f"must be numbers from 1 to {MOST} with commas between them, but got '{value}'.")
    return tuple(dict.fromkeys(found))


@click.command()
@click.argument("networks", metavar="RUN|FILE...", nargs=-1, required=True)
@click.option(
    "--size",
    "sizes",
    metavar="HxW",
    multiple=True,
    help="Of the pictures, one side or two, in pixels; may be given several times.  [the last stage's, the file's own]",
)
@click.option(
    "--batch",
    "batches",
    metavar="N,N...",
    default="1,4,16",
    show_default=True,
    callback=numbers,
    help="Pictures of a call.",
)
@click.option(
    "--form",
    "forms",
    type=click.Choice(("pytorch", "compiled", "pt2", "onnx", "int8")),
    multiple=True,
    help="Of runs; may be given several times.  [all]",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Of a prediction, in every form.  [OMP_NUM_THREADS; without it, one for each core]",
)
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Turns of each form.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@home_option
def bench(
    networks: "Sequence[str]", sizes: "Sequence[str]", forms: Any, as_json: bool, home: Home, **given: Any
) -> None:
    """Measure how fast networks predict on this machine's processor.

    RUN is a run's name, FILE an .onnx file of `dmx export`. A run is measured in PyTorch, compiled by torch.compile,
    exported by torch.export (pt2), and exported for ONNX Runtime in float32 and in int8, with one number of threads for
    all. Each form is a process of its own, and they take turns second by second, so that other work on the machine hits
    all of them alike. The results are kept with the run and sent to MLflow. Needs dmx[depth]; the compiled form takes a
    minute or more before it starts.
    """
    import tempfile

    import psutil
    import torch

    from dmx.cli.bar import bar
    from dmx.cli.data.pack import height_width
    from dmx.deliver.bench.keep import keep, record
    from dmx.deliver.bench.measure import Settings, measure
    from dmx.errors import MachineError
    from dmx.machine import cores

    load = psutil.getloadavg()[0]
    settings = Settings(given["batches"], given["rounds"], given["threads"] or min(torch.get_num_threads(), cores()))
    sides = [height_width(size) for size in dict.fromkeys(sizes)]
    opened = [of_name(home, name) for name in dict.fromkeys(networks)]
    with tempfile.TemporaryDirectory() as folder:
        variants = all_variants(home, opened, sides, forms, Path(folder))
        with bar("measuring") as progress:
            found = measure(variants, settings, progress)
    if not found.rows:
        raise MachineError("nothing could be measured: " + "; ".join(found.failures))
    kept = record(found, settings, load)
    if as_json:
        click.echo(json.dumps(kept, indent=1))
    else:
        show(kept)
    for one in opened:
        if not isinstance(one, str):
            path, unsent = keep(kept, found.rows, home, one.run)
            lacking = f" MLflow lacks {unsent} events; `dmx sync` sends them." if unsent else ""
            click.echo(f"Wrote {path}.{lacking}", err=as_json)


def of_name(home: Home, name: str) -> "Trained | str":
    """The network of a run that has ended; the name itself, if it is that of a file.

    Raises:
        UserError: There is no such run or file, the run has not ended, or the file is one of torch.
    """
    from dmx.errors import UserError
    from dmx.experiment.trained import trained
    from dmx.foreign.network import is_foreign
    from dmx.foreign.onnx_file import check_file
    from dmx.results.records import ended

    if name.lower().endswith(".pt2"):
        raise UserError(
            f"{name}: is a file of torch, which can run its author's code when it is loaded (torch.export unpickles); "
            "`dmx bench RUN --form pt2` measures a run's network as such a file."
        )
    if is_foreign(name):
        check_file(Path(name))
        return name
    network = trained(home, name)
    ended(home, name)
    return network


def all_variants(
    home: Home, opened: "Sequence[Trained | str]", sizes: "Sequence[Size]", forms: Any, folder: Path
) -> "list[Variant]":
    """Everything that is measured; runs are exported into `folder`."""
    from dmx.cli.bar import bar
    from dmx.deliver.bench.variants import FORMS, of_file, of_run

    files = {one: of_file(one, sizes) for one in opened if isinstance(one, str)}  # their mistakes before the work
    runs = [(one, size) for one in opened if not isinstance(one, str) for size in sizes or [one.size]]
    found = {}
    with bar("exporting") as progress:
        for number, (network, size) in enumerate(runs):
            progress(number, len(runs))
            found[network.run, size] = of_run(home, network, size, forms or FORMS, folder / str(number))
    return [
        variant
        for one in opened
        for variants in (
            [files[one]] if isinstance(one, str) else [v for (run, _), v in found.items() if run == one.run]
        )
        for variant in variants
    ]


def show(kept: dict[str, Any]) -> None:
    """Print the rows as a table, and on what and how they were measured."""
    from dmx.cli.console import console, framed

    head = ("network", "form", "size", "batch", "threads", "ms", "p95", "pictures/s", "ratio", "CPU ms/picture", "MB")
    console().print(framed("", head, [cells(row) for row in kept["rows"]]))
    click.echo(
        f"\nms of a call: median and 95th percentile. Ratio of pictures/s to the first form of that size and batch: "
        f"median of {kept['rounds']} rounds, least and greatest. MB: the most that the process had, libraries included."
    )
    versions = ", ".join(f"{name} {version}" for name, version in kept["packages"].items())
    click.echo(f"{kept['cpu']}, {kept['threads']} of {kept['cores']} cores; Python {kept['python']}, {versions}.")
    click.echo(
        f"The load average was {kept['load_before']:.1f} before, and others took {kept['cores_of_others']:.1f} cores "
        "meanwhile."
    )
    if kept["busy"]:
        click.echo("The machine was busy: trust the ratios more than the rest, and measure again when it is idle.")
    for failure in kept["failures"]:
        click.echo(f"Not measured: {failure}.")


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row as text."""
    return (
        row["network"],
        row["form"],
        "x".join(map(str, row["size"])),
        str(row["batch"]),
        str(row["threads"]),
        f"{row['latency_ms']:.1f}",
        f"{row['latency_p95_ms']:.1f}",
        f"{row['pictures_per_second']:.1f}",
        f"{row['ratio']:.2f} ({row['ratio_least']:.2f} to {row['ratio_greatest']:.2f})",
        f"{row['cpu_ms']:.1f}",
        f"{row['memory_mb']:.0f}",
    )
