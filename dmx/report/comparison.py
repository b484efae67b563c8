"""The comparison of runs as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from math import isfinite

from markupsafe import Markup
from matplotlib.axes import Axes

from dmx.compare.difference import Difference
from dmx.compare.pictures import Pair
from dmx.compare.runs import Comparison
from dmx.report.figures import BLUE, GREY, RED, plot
from dmx.report.html import document, figure, inline, join, number, shown, table, tag, text
from dmx.results.references import TITLES
from dmx.sample_table import FORMS, base
from dmx.tracking.panel import png

SHADES = {"better": BLUE, "network better": BLUE, "worse": RED, "network worse": RED, "unclear": GREY}


def comparison_page(found: Comparison, pairs: Mapping[str, Sequence[Pair]], metric: str, why_none: str) -> str:
    """Render the whole page.

    Args:
        found: The comparison.
        pairs: For each candidate but the first, pictures of the samples on which it differs most from the first.
        metric: The metric by which they differ most, as `task/name`.
        why_none: Why there are no pictures, if there are none.
    """
    first = found.candidates[0]
    title = f"{first.name} and {', '.join(one.name for one in found.candidates[1:])}"
    sections = {
        "What is more than chance": join(*(forest(found, i) for i in range(1, len(found.candidates)))),
        "All metrics": values(found),
        "In what they differ": differing(found),
        "Where they differ most": pictures(pairs, metric, why_none),
    }
    return document(title, sections, next(run.run for one in found.candidates for run in one.runs))


def forest(found: Comparison, which: int) -> Markup:
    """Plot each metric's difference with its interval, in per cent of the first's value; pooled metrics if possible."""
    rows: list[tuple[str, Difference]] = []
    for metric in found.metrics:
        d = found.differences[metric][which - 1]
        pooled = base(metric) + FORMS[0]
        if d is not None and d.first != 0 and (metric == pooled or pooled not in found.metrics):
            rows.append((metric.removesuffix(FORMS[0]), d))

    def draw(ax: Axes) -> None:
        for place, (_, d) in enumerate(reversed(rows)):
            share = 100 / abs(d.first)
            colour = SHADES[d.verdict]
            if isfinite(d.low):
                ax.plot([d.low * share, d.high * share], [place, place], color=colour, linewidth=2)
            ax.plot([d.value * share], [place], "o", color=colour, markersize=5)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set(xlabel=f"% of {found.candidates[0].name}'s value", yticks=range(len(rows)))
        ax.set_yticklabels([name for name, _ in reversed(rows)])

    caption = (
        f"{found.candidates[which].name} against {found.candidates[0].name}, intervals as in the table below: blue is "
        "better, red is worse, grey is unclear."
    )
    return plot(caption, draw, height=1.0 + 0.26 * len(rows))


def values(found: Comparison) -> Markup:
    """Render every metric of every candidate, and the differences from the first."""
    references = found.references
    head = ["metric", *(one.name for one in found.candidates), *(["strongest reference"] if references else [])]
    rows = []
    for metric in found.metrics:
        cells = [number(found.values[metric][0])]
        for value, d in zip(found.values[metric][1:], found.differences[metric], strict=True):
            said = "" if d is None else f" ({d.value:+.3g}, {d.low:+.2g} to {d.high:+.2g}: {d.verdict})"
            cells.append(number(value) + said)
        if references is not None:
            best = references.strongest(metric)
            cells.append("–" if best is None else f"{number(best[1])} ({TITLES.get(best[0], best[0])})")
        rows.append((metric, *cells))
    note = f"In brackets the difference from the first, with its interval. {found.message}"
    return join(text(note), table(head, rows, numbers=range(1, len(head))))


def differing(found: Comparison) -> Markup:
    """Render the settings in which the configurations differ."""
    rows = [(path, *map(shown, row)) for path, row in found.changed.items()]
    return table(("setting", *(one.name for one in found.candidates)), rows)


def pictures(pairs: Mapping[str, Sequence[Pair]], metric: str, why_none: str) -> Markup:
    """Render the samples on which runs differ most."""
    if why_none:
        return text(f"Not shown: {why_none}")
    parts: list[str] = []
    for name, each in pairs.items():
        parts.append(tag("h3", f"The first above, {name} below"))
        for pair in each:
            one, other = (number(value) for value in pair.values)
            says = f"{pair.id}: {metric} {one} and {other}"
            parts.append(figure(inline(png(pair.picture), says), says))
    return join(*parts)
