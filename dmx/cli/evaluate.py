"""`dmx evaluate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmx.cli.options import home as home_option
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home

if TYPE_CHECKING:
    from rich.table import Table

    from dmx.experiment.evaluate import Evaluation


@click.command()
@click.argument("run")
@click.argument("data", type=UserPath(file_okay=False))
@click.option(
    "--part",
    type=click.Choice(("all", "train", "val", "test")),
    help="Which samples. [val of the run's own data set, all of any other]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@home_option
def evaluate(run: str, data: Path, part: Any, as_json: bool, home: Home) -> None:
    """Evaluate a run on a data set, with every metric there is.

    RUN is a run's name, DATA the folder of a data set. Metrics are pooled and per image, by depth range and by size of
    the object, at every threshold of the mask; with boundary IoU, S-, E- and weighted F-measure, calibration, and
    pictures of the worst samples. Depth is also measured after alignment to the true scale; the names of these metrics
    say so. Results are kept with the run, sample by sample.

    The test part of the run's own data is meant for the very end: it is read only where `--part` asks for `test` or
    `all`, and the output says for how many networks it has been read.
    """
    from dmx.cli.bar import bar
    from dmx.experiment.evaluate import evaluate as made
    from dmx.experiment.evaluations import ended, keep, read_on_test, record, told_of_test
    from dmx.experiment.trained import trained
    from dmx.report.evaluation import evaluation_page

    network = trained(home, run)
    ended(home, run)
    with bar("looking at pictures") as progress:
        found = made(network, data, part, home, progress)
    folder, unsent = keep(found, evaluation_page(found), home)
    if as_json:
        click.echo(json.dumps(record(found), indent=1))
        return
    show(found)
    click.echo(f"\nWrote {folder / 'evaluation.html'}, with the worst samples and each sample's values beside it.")
    if found.own and found.part in ("test", "all"):
        click.echo(told_of_test(read_on_test(home, run)))
    if unsent:
        click.echo(f"MLflow lacks {unsent} events; `dmx sync` sends them.")


def show(found: "Evaluation") -> None:
    """Print the metrics overall, by depth and by object size."""
    from rich.console import Console

    from dmx.experiment.evaluations import depth_table, mask_table, reference_table

    console = Console() if Console().is_terminal else Console(width=200)

    def table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        console.print(framed(title, columns, rows), highlight=False)

    console.print(f"{found.run} on {found.data} ({found.part}), {len(found.samples.ids)} samples", highlight=False)
    for title, (head, rows) in (("\nMask", mask_table(found)), ("\nDepth", depth_table(found))):
        table(title, head, [(name, *map(number, values)) for name, *values in rows])
    head, rows = reference_table(found)
    if rows:
        named = [(name, *map(number, values)) for name, *values in rows]
        table("\nBeside the references", head, named)
    depth = ("depth/abs_rel", "depth/rmse") if found.strata.spec.kind == "metric" else ("depth/mae", "depth/rmse")
    table(
        "\nBy depth",
        ("from", "to", "pixels", *depth),
        [
            (
                f"{row['low']:.3g}",
                f"{row['high']:.3g}",
                f"{row['pixels']:,}",
                *(number(row.get(f"{name}_pooled")) for name in depth),
            )
            for row in found.strata.by_depth()
        ],
    )
    table(
        "\nBy the object's share of the picture",
        ("object", "samples", "mask/iou", "mask/mae"),
        [
            (str(row["object"]), f"{row['samples']:,}", number(row["mask/iou_pooled"]), number(row["mask/mae_pooled"]))
            for row in found.strata.by_size()
        ],
    )
    click.echo(at_threshold(found))


def framed(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> "Table":
    """Make a table without borders, with the first column left-aligned."""
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=None)
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def at_threshold(found: "Evaluation") -> str:
    """Format the metrics at the threshold that is best on validation."""
    from dmx.experiment.evaluations import threshold

    best = threshold(found)
    if best["best_on_validation"] is None:
        return f"\nNo threshold of the mask but 0.5: {best['why_none']}."
    return (
        f"\nMask at {best['best_on_validation']:.3f}, the best threshold on the run's own validation samples: "
        f"pooled IoU {number(best['mask/iou_pooled'])}, against {number(found.values['mask/iou_pooled'])} at 0.5."
    )


def number(value: float | int | str | None) -> str:
    """Format a value for display."""
    return "-" if value is None else f"{float(value):.4g}"
