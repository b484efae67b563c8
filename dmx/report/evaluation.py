"""An evaluation as one self-contained HTML page."""

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from dmx.experiment.evaluate import Evaluation
from dmx.experiment.evaluation_store import depth_table, mask_table, reference_table
from dmx.experiment.uncertainty_table import rated, uncertainty_table
from dmx.metrics.probabilities import CALIBRATION_BINS
from dmx.metrics.uncertainty import LEFT_OUT, LEVELS, Curve, Uncertainty
from dmx.report.figures import BLUE, GREY, plot
from dmx.report.html import count, document, figure, inline, join, number, table, text
from dmx.sample_table import SampleTable
from dmx.tracking.panel import png


def evaluation_page(found: Evaluation) -> str:
    """Render the whole page."""
    spread = found.uncertainty
    sections = {
        "All metrics": metrics(found),
        "By depth": by_depth(found),
        **(of_mask(found) if found.has_mask else {}),
        **({"Whether the uncertainty can be believed": uncertainty(spread, found.samples)} if spread else {}),
        "The worst samples": worst(found),
    }
    return document(f"{found.run}{found.joined} on {named(found)}", sections, found.run)


def of_mask(found: Evaluation) -> dict[str, Markup]:
    """Render the sections about the mask."""
    return {
        "By size of the object": by_size(found),
        "The mask's threshold": thresholds(found),
        "Whether the mask's probability can be believed": calibration(found),
    }


def named(found: Evaluation) -> str:
    """Describe the evaluated samples as text."""
    return f"{found.data}, all of it" if found.part == "all" else f"{found.data}, {found.part}"


def metrics(found: Evaluation) -> Markup:
    """Pooled and per image, side by side."""
    groups = len(set(found.samples.groups))
    height, width = found.identity["size"]
    note = text(
        f"On {count(len(found.samples.ids), 'sample')} in {count(groups, 'group')}, at {width}x{height} pixels. "
        "Pooled: sums over all pixels, divided once. Per image: the mean over the samples in which it is defined. "
        "Median and least squares: each picture's depth brought to the truth's scale, or scale and shift, first."
    )
    tables = []
    for head, rows in (*([mask_table(found)] if found.has_mask else []), depth_table(found)):
        cells = [(name, *map(number, values)) for name, *values in rows]
        tables.append(table(head, cells, numbers=range(1, len(head)), kind="wide tight"))
    head, rows = reference_table(found)
    if rows:
        tables.append(text("Beside the references, trivial predictors from the training part:"))
        cells = [(name, *map(number, values)) for name, *values in rows]
        tables.append(table(head, cells, numbers=range(1, len(head)), kind="wide tight"))
    return join(note, *tables)


def by_depth(found: Evaluation) -> Markup:
    """Depth metrics in each range of true depth."""
    unit = " m" if found.strata.spec.kind == "metric" else ""
    rows = [(f"{row['low']:.3g} to {row['high']:.3g}{unit}", row) for row in found.strata.by_depth()]
    return strata("true depth", "pixels", rows)


def by_size(found: Evaluation) -> Markup:
    """Mask metrics for objects of each size."""
    return strata("object's share", "samples", [(str(row["object"]), row) for row in found.strata.by_size()])


def strata(first: str, amount: str, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Markup:
    """A row for each stratum."""
    rows = [*rows]
    names = [*dict.fromkeys(key for _, row in rows for key in row if "/" in key)]
    head = (first, amount, *(name.partition("/")[2].removesuffix("_pooled") for name in names))
    cells = [(name, f"{row[amount]:,}", *(number(row.get(key)) for key in names)) for name, row in rows]
    return table(head, cells, numbers=range(1, len(head)), kind="wide tight")


def thresholds(found: Evaluation) -> Markup:
    """Precision, recall and IoU over the threshold."""
    spread = found.probabilities

    def draw(ax: Axes) -> None:
        for name, style in (("precision", "--"), ("recall", ":"), ("iou", "-")):
            ax.plot(spread.thresholds, getattr(spread, name), style, color=BLUE, label=name)
        ax.axvline(0.5, color=GREY, linewidth=0.8)
        if found.threshold is not None:
            ax.axvline(found.threshold, color="black", linewidth=0.8)
        ax.set(xlabel="threshold of the probability", ylim=(0, 1.02), xlim=(0, 1))
        ax.legend()

    at_half = number(spread.iou_at(0.5))
    if found.threshold is None:
        said = f"IoU at 0.5: {at_half}. No other threshold is named: {found.why_none or 'validation has no object'}."
    else:
        said = (
            f"IoU at 0.5: {at_half}. At {found.threshold:.3f}, which is best on the run's own validation samples: "
            f"{number(spread.iou_at(found.threshold))}."
        )
    return join(text(said), plot("Pooled precision, recall and IoU; the black line is validation's best.", draw))


def calibration(found: Evaluation) -> Markup:
    """Share of object pixels over predicted probability."""
    n, confidence, share = found.probabilities.calibration

    def draw(ax: Axes) -> None:
        ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        there = n > 0
        ax.plot(confidence[there], share[there], "o-", color=BLUE, markersize=4)
        ax.set(xlabel="predicted probability", ylabel="share of object pixels", xlim=(0, 1), ylim=(0, 1))

    error = number(found.probabilities.calibration_error)
    said = f"{CALIBRATION_BINS} bins of the probability; on the grey line it can be believed. Expected error: {error}."
    return plot(said, draw, width=4.0, height=3.6)


def uncertainty(found: Uncertainty, samples: SampleTable) -> Markup:
    """The numbers, what they come to, the errors that are left without the most uncertain pixels, and the intervals."""
    rows = [(name, number(value), meaning) for name, value, meaning in uncertainty_table(found)]
    means = ((task, found.curve(task)) for task in found.curves)
    parts = [sparsification(task, *curves) for task, curves in means if curves is not None]

    def intervals(ax: Axes) -> None:
        ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        ax.plot(LEVELS, found.coverage, "o-", color=BLUE, markersize=4)
        ax.set(xlabel="probability of the interval", ylabel="share of depths in it", xlim=(0, 1), ylim=(0, 1))

    said = "Intervals of depth by its standard deviation, as of a normal distribution: below the line, too narrow."
    numbers = table(("", "", ""), rows, numbers=(1,), kind="wide tight")
    return join(numbers, *map(text, rated(found, samples)), *parts, plot(said, intervals, width=4.0, height=3.6))


def sparsification(task: str, by_spread: Curve, by_error: Curve) -> Markup:
    """Draw the errors that are left over the share of pixels that is left out."""

    def draw(ax: Axes) -> None:
        ax.plot(LEFT_OUT, by_spread, color=BLUE, label="by the standard deviation")
        ax.plot(LEFT_OUT, by_error, "--", color=BLUE, label="by the error itself, the best there can be")
        ax.axhline(1, color=GREY, linewidth=0.8, label="at random")
        ax.set(
            xlabel="pixels left out, the most uncertain first", ylabel="RMSE of the rest", xlim=(0, 1), ylim=(0, 1.1)
        )
        ax.legend()

    return plot(f"What is left of the error of the {task}, 1 with all pixels; means over the pictures.", draw)


def worst(found: Evaluation) -> Markup:
    """The samples with the worst values."""
    parts: list[str] = []
    for metric in found.worst.metrics:
        if (panel := found.worst.panel(metric)) is None:
            continue
        each = ", ".join(f"{sight.id} {number(sight.value)}" for sight in found.worst.found[metric])
        says = f"Worst by {metric}: {each}"
        parts.append(figure(inline(png(panel), says), says))
    return join(*parts) if parts else text("None: no sample has a value.")
