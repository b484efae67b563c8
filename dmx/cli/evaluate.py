"""`dmx evaluate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dmx.cli import options
from dmx.cli.paths import UserPath
from dmx.tracking.home import Home

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from dmx.experiment.evaluate import Evaluation
    from dmx.metrics.uncertainty import Uncertainty
    from dmx.sample_table import SampleTable


@click.command()
@click.argument("run")
@click.argument("data", type=UserPath(file_okay=False))
@click.option(
    "--part",
    type=click.Choice(("all", "train", "val", "test")),
    help="Which samples. [val of the run's own data set, all of any other]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@options.home
@options.others
@options.tta
@options.calibration
@click.option("--like", metavar="RUN", help="Of others: evaluate at this run's size, and on its part of its own data.")
@click.option("--size", metavar="HxW", help="Of others: evaluate at this size instead, one side or two, in pixels.")
@click.option(
    "--predicts",
    type=click.Choice(("metric", "depth", "disparity")),
    help="Of others: what the depth is: metres, or without a unit and great where far (depth) or near (disparity).",
)
@click.option(
    "--normalise",
    type=click.Choice(("imagenet", "half", "none")),
    help="Of an ONNX file: how pictures in [0, 1] are normalised; half is (x - 0.5) / 0.5.  [imagenet]",
)
@click.option("--depth-output", metavar="NAME", default="", help="Of an ONNX file: which output is the depth.")
@click.option("--mask-output", metavar="NAME", default="", help="Of an ONNX file: which output is the mask.")
@click.option("--mask-logits", is_flag=True, help="Of an ONNX file: the mask is logits, not probabilities.")
def evaluate(run: str, data: Path, part: Any, as_json: bool, home: Home, **given: Any) -> None:
    """Evaluate a run, or a network of others, on a data set by every metric.

    RUN is a run's name, DATA the folder of a data set. Metrics are pooled and per image, by depth range and by size of
    the object, at every threshold of the mask; with boundary IoU, S-, E- and weighted F-measure, calibration, and
    pictures of the worst samples. Depth is also measured after alignment to the true scale; the names of these metrics
    say so. Results are kept with the run, sample by sample.

    With `--with` or `--tta`, predictions are averaged, and their standard deviation is judged: does it tell great
    errors from small ones (sparsification), and has it their size (calibration)?

    In place of a run, RUN may be FILE.onnx or hf:FOLDER, a network of others for depth (needs dmx[depth]): an ONNX
    file, or a folder with a depth-estimation model of Hugging Face. `dmx compare` compares it with runs on the same
    samples, and leaderboards show it beneath them. A file of `dmx export` needs no --like: it names its run.

    The test part of the run's own data is meant for the very end: it is read only where `--part` asks for `test` or
    `all`, and the output says for how many networks it has been read.
    """
    from dmx.experiment.evaluation_store import read_on_test, usage_of_test
    from dmx.foreign.network import is_foreign

    for_runs = {name: given.pop(name) for name in ("others", "tta", "calibration")}
    foreign = is_foreign(run)
    if unfit := [name for name, value in (for_runs if foreign else given).items() if value]:
        option = "with" if unfit[0] == "others" else unfit[0].replace("_", "-")
        fit = "a run, not for a network of others" if foreign else "FILE.onnx or hf:FOLDER, not for a run"
        raise click.UsageError(f"--{option} is for {fit}.")
    if foreign:
        found, folder, unsent = of_others(run, data, part, home, given)
    else:
        found, folder, unsent = of_run(run, data, part, home, **for_runs)
    if as_json:
        from dmx.experiment.evaluation_store import evaluation_json

        click.echo(json.dumps(evaluation_json(found), indent=1))
        return
    show(found)
    click.echo(f"\nWrote {folder / 'evaluation.html'}, with the worst samples and each sample's values beside it.")
    if found.own and found.part in ("test", "all"):
        click.echo(usage_of_test(read_on_test(home, run)))
    if found.part == "val" and not found.own:
        click.echo(f"`dmx compare RUN {found.run}` says what differs from a run by more than chance.")
    if unsent:
        click.echo(f"MLflow lacks {unsent} events; `dmx sync` sends them.")


def of_run(
    run: str, data: Path, part: Any, home: Home, others: tuple[str, ...], tta: str | None, calibration: str | None
) -> "tuple[Evaluation, Path, int]":
    """Evaluate a run and keep the results.

    Returns:
        The evaluation, its folder, and the number of unsent events.
    """
    from dmx.cli.bar import bar
    from dmx.experiment.evaluate import evaluate as made
    from dmx.experiment.evaluation_store import keep
    from dmx.experiment.joined import Joined, check_members
    from dmx.experiment.trained import trained
    from dmx.report.evaluation import evaluation_page
    from dmx.results.records import ended

    if calibration is not None and others:
        raise click.UsageError("a calibration is of one run; leave out --with, or --calibration.")
    networks = [trained(home, run, calibration), *(trained(home, other) for other in others)]
    check_members(networks)
    ended(home, run)
    with bar("looking at pictures") as progress:
        found = made(networks[0], data, part, home, progress, Joined(tuple(networks[1:]), tta == "flip"))
    return found, *keep(found, evaluation_page(found), home)


def of_others(name: str, data: Path, part: Any, home: Home, given: dict[str, Any]) -> "tuple[Evaluation, Path, int]":
    """Evaluate a network of others and keep the results.

    Returns:
        The evaluation, its folder, and the number of unsent events.
    """
    from dmx.cli.bar import bar
    from dmx.cli.data.pack import height_width
    from dmx.config.data import SplitConfig
    from dmx.experiment.evaluate import select
    from dmx.experiment.evaluation_store import keep
    from dmx.experiment.external import evaluate_external, start_of
    from dmx.experiment.trained import config_of
    from dmx.foreign import Settings, open_network
    from dmx.report.evaluation import evaluation_page

    like, size = given.pop("like"), given.pop("size")
    asked = None if size is None else height_width(size)
    which = click.UsageError("give either --like RUN or --size HxW: at which size predictions meet the truth.")
    if like and size:
        raise which
    config = None if like is None else config_of(home, like)
    network = open_network(name, Settings(**given))
    if config is None and size is None and network.origin and home.run(network.origin).is_dir():
        like, config = network.origin, config_of(home, network.origin)
    sides = asked or network.size if config is None else config.stages[-1].height_width
    if sides is None:
        raise which
    chosen = select(data, part, home, like, SplitConfig() if config is None else config.data.split)
    with bar("looking at pictures") as progress:
        found = evaluate_external(network, chosen, sides, progress)
    return found, *keep(found, evaluation_page(found), home, start_of(network))


def show(found: "Evaluation") -> None:
    """Print the metrics overall, by depth and by object size."""
    from dmx.cli.console import console, framed, number
    from dmx.experiment.evaluation_store import depth_table, mask_table, reference_table

    screen = console()
    who = found.run + found.joined
    screen.print(f"{who} on {found.data} ({found.part}), {len(found.samples.ids)} samples")
    tables = {"Mask": mask_table(found)} if found.has_mask else {}
    tables |= {"Depth": depth_table(found), "Beside the references": reference_table(found)}
    for title, (head, rows) in tables.items():
        if rows:
            screen.print(framed(f"\n{title}", head, [(name, *map(number, values)) for name, *values in rows]))
    if found.uncertainty:
        show_uncertainty(screen, found.uncertainty, found.samples)
    depth = ("depth/abs_rel", "depth/rmse") if found.strata.spec.kind == "metric" else ("depth/mae", "depth/rmse")
    ranges = [depth_row(row, depth) for row in found.strata.by_depth()]
    screen.print(framed("\nBy depth", ("from", "to", "pixels", *depth), ranges))
    if not found.has_mask:
        click.echo("\nNo metric of the mask: no mask is predicted, or none is known.")
        return
    sizes = [
        (str(row["object"]), f"{row['samples']:,}", number(row["mask/iou_pooled"]), number(row["mask/mae_pooled"]))
        for row in found.strata.by_size()
    ]
    head = ("object", "samples", "mask/iou", "mask/mae")
    screen.print(framed("\nBy the object's share of the picture", head, sizes))
    click.echo(at_threshold(found))


def show_uncertainty(console: "Console", found: "Uncertainty", samples: "SampleTable") -> None:
    """Print what the uncertainty is worth: numbers, and what they come to."""
    from dmx.cli.console import framed, number
    from dmx.experiment.uncertainty_table import rated, uncertainty_table

    values = uncertainty_table(found)
    made = framed("\nUncertainty", ("", "", ""), [(name, number(value), said) for name, value, said in values])
    made.columns[-1].justify = "left"
    console.print(made)
    for said in rated(found, samples):
        click.echo(said)


def depth_row(row: "Mapping[str, Any]", names: tuple[str, str]) -> tuple[str, ...]:
    """Format the metrics of a range of depth."""
    from dmx.cli.console import number

    bounds = (f"{row[end]:.3g}" for end in ("low", "high"))
    return (*bounds, f"{row['pixels']:,}", *(number(row.get(f"{name}_pooled")) for name in names))


def at_threshold(found: "Evaluation") -> str:
    """Format the metrics at the threshold that is best on validation."""
    from dmx.cli.console import number
    from dmx.experiment.evaluation_store import threshold

    best = threshold(found)
    if best["best_on_validation"] is None:
        return f"\nNo threshold of the mask but 0.5: {best['why_none']}."
    return (
        f"\nMask at {best['best_on_validation']:.3f}, the best threshold on the run's own validation samples: "
        f"pooled IoU {number(best['mask/iou_pooled'])}, against {number(found.values['mask/iou_pooled'])} at 0.5."
    )
