"""A page of the worst samples, as a picture."""

from itertools import zip_longest

import numpy as np

from dmx.data.check.context import difference
from dmx.data.check.finding import Finding
from dmx.data.check.report import Report
from dmx.data.check.sample import opened
from dmx.data.layout import DatasetIndex
from dmx.data.samples import Record
from dmx.data.sheet import SIDE, Rgb, line, page, warm

ROLES = ("background", "image", "mask", "depth")
FULL = 64
"""Grey levels of difference that are drawn in full red."""


def worst(index: DatasetIndex, report: Report, count: int = 12) -> Rgb:
    """Background, image, mask, depth and the difference of the first two, for the worst samples; kinds take turns.

    Mask and depth are drawn from black to white from their least to their greatest raw value, for what is declared of
    them may be what is wrong. The difference goes from blue (none) to red (64 grey levels or more).

    Args:
        index: The data set.
        report: What was found in it, at least one thing.
        count: Rows at most.
    """
    rows = []
    for one in chosen(report, count):
        row = int(index.samples.rows([one.sample])[0])
        rows.append((f"{one.sample}: {one.kind}: {one.text}", _cells(index, index.samples[row])))
    return page(rows)


def chosen(report: Report, count: int) -> list[Finding]:
    """The worst of each kind, then the second of each kind, and so on; each sample once, then in the report's order."""
    taken: dict[str, Finding] = {}
    for turn in zip_longest(*report.by_kind().values()):
        for one in turn:
            if one is not None and len(taken) < count:
                taken.setdefault(one.sample, one)
    kept = set(map(id, taken.values()))
    return [one for one in report.findings if id(one) in kept]


def _cells(index: DatasetIndex, record: Record) -> list[tuple[str, Rgb]]:
    cells: list[tuple[str, Rgb]] = []
    pictures: dict[str, np.ndarray] = {}
    for role in ROLES:
        if (path := record.paths().get(role)) is None:
            continue
        found = opened(index.pictures / path, role, index.declaration)
        if isinstance(found, tuple):
            cells.append((role, _nothing(found[0])))
        else:
            pictures[role] = found.pixels
            cells.append((role, found.pixels if found.pixels.ndim == 3 else _stretched(found.pixels)))
    shapes = [pictures[role].shape for role in ("image", "background") if role in pictures]
    if len(shapes) == 2 and shapes[0] == shapes[1]:
        apart = difference(pictures["image"], pictures["background"])
        cells.append(("difference", warm(apart.astype(np.float32) / FULL)))
    return cells


def _stretched(raw: np.ndarray) -> Rgb:
    """Raw values from black (the least) to white (the greatest)."""
    values = np.nan_to_num(raw.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    span = max(float(np.ptp(values)), 1e-12)
    plane = ((values - values.min()) / span * 255).round().astype(np.uint8)
    return np.repeat(plane[..., None], 3, axis=2)


def _nothing(kind: str) -> Rgb:
    """A cell that says why there is no picture."""
    cell = np.full((SIDE, SIDE, 3), 220, np.uint8)
    cell[:20] = line(kind, SIDE, (200, 0, 0))
    return cell
