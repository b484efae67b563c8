"""Contact sheets: samples as rows of pictures, and the worst samples of a check."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from dmx.data.layout import DatasetIndex
from dmx.data.reading import read_quartet
from dmx.data.samples import Record
from dmx.datatools.check.comparison import difference
from dmx.datatools.check.report import Finding, Report
from dmx.datatools.check.sample import read_or_fault
from dmx.errors import UserError, did_you_mean
from dmx.quartet import DepthSpec, Quartet

Rgb = UInt8[np.ndarray, "_h _w 3"]

SIDE = 176
"""Height of a cell in pixels."""
GAP = 4
LINE = 20
"""Height of a line of text in pixels."""
UNKNOWN = 128
"""Grey level for unknown pixels, which neither the colours of depth nor a mask use."""
OUTLINE = (255, 0, 255)
"""Colour of the mask's outline in the image: magenta, which is rare in photographs."""


def contact_sheet(index: DatasetIndex, quartets: Sequence[Quartet]) -> Rgb:
    """Draw one row per sample: background, image, mask, depth, and the mask's outline in the image, with the id above.

    Near is red, far is blue, on one scale for the sheet, from the least to the greatest depth shown; a legend is at the
    bottom. Grey is unknown. Cells for a missing background or depth are left out.
    """
    spec = index.depth if index.declaration.depth is not None else None
    known = [quartet.depth[quartet.valid] for quartet in quartets if quartet.valid.any()]
    low = min((float(depth.min()) for depth in known), default=0.0)
    high = max((float(depth.max()) for depth in known), default=1.0)
    rows = []
    for one in quartets:
        cells = [] if one.background is None else [("background", one.background)]
        cells += [("image", one.image), ("mask", mask_picture(one.mask > 0, one.mask_valid))]
        if spec is not None:
            cells.append(("depth", depth_picture(one.depth, one.valid, low, high, spec.near)))
        cells.append(("mask's edge", outlined(one.image, one.mask)))
        rows.append((f"{one.id}  (group {one.group})", cells))
    return page(rows, None if spec is None else legend(spec, low, high))


def choose(index: DatasetIndex, count: int, seed: int) -> list[int]:
    """Draw rows of `count` samples, spread over as many groups as possible, sorted; deterministic for a seed.

    Groups take turns in a random order, each contributing one unused sample per turn.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(index.samples.column("group")):
        groups[str(group)].append(row)
    known = list(groups)
    names = [known[place] for place in rng.choice(len(known), min(count, len(known)), replace=False)]
    taken: list[int] = []
    orders = {name: rng.permutation(groups[name]).tolist() for name in names}
    while len(taken) < min(count, len(index.samples)):
        for name in names:
            if orders[name] and len(taken) < count:
                taken.append(orders[name].pop())
    return sorted(taken)


def show(index: DatasetIndex, *, count: int = 12, seed: int = 0, ids: Sequence[str] = ()) -> Rgb:
    """Make a contact sheet of chosen samples, or of `count` drawn ones.

    Args:
        index: The data set.
        count: How many samples to draw, where no ids are given.
        seed: 0 is a seed like every other.
        ids: The samples to show, in this order.

    Raises:
        UserError: There is no sample of an id.
        DataError: A picture cannot be read.
    """
    rows = index.samples.rows(ids).tolist() if ids else choose(index, count, seed)
    for row, name in zip(rows, ids, strict=False):
        if row < 0:
            known = index.samples.column("id")[:100_000]  # a proposal is not worth more time
            raise UserError(f"{index.root}: no sample '{name}'; {_proposal(name, [str(one) for one in known])}")
    return contact_sheet(index, [read_quartet(index, index.samples[row]) for row in rows])


def _proposal(name: str, known: list[str]) -> str:
    said = did_you_mean(name, known)
    return said if len(known) <= 20 else said.partition("Known:")[0] + "ids are in samples.csv"


def page(rows: Sequence[tuple[str, Sequence[tuple[str, Rgb]]]], last: Rgb | None = None) -> Rgb:
    """Lay out rows of titled cells, each below its own line of text.

    Args:
        rows: For each row its text and its cells with their titles.
        last: A picture below all rows.
    """
    drawn = [[(title, fitted(cell)) for title, cell in cells] for _, cells in rows]
    least = max(sum(cell.shape[1] + GAP for _, cell in cells) for cells in drawn)
    width = max(least, 0 if last is None else last.shape[1])
    parts: list[np.ndarray] = []
    for (text, _), cells in zip(rows, drawn, strict=True):
        titles = np.concatenate([line(title, cell.shape[1] + GAP, (90, 90, 90)) for title, cell in cells], axis=1)
        pictures = [np.pad(cell, ((0, 0), (0, GAP), (0, 0)), constant_values=255) for _, cell in cells]
        parts += [line(text, width), titles, np.concatenate(pictures, axis=1)]
        parts.append(np.full((GAP, width, 3), 255, np.uint8))
    parts += [] if last is None else [last]
    wide = [np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255) for part in parts]
    return np.concatenate(wide, axis=0)


def fitted(cell: Rgb) -> Rgb:
    """Resize a picture to the height of a cell: enlarged by nearest-neighbour, reduced by area averaging."""
    height, width = cell.shape[:2]
    how = cv2.INTER_AREA if height > SIDE else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(cell, (max(1, round(width * SIDE / height)), SIDE), interpolation=how), np.uint8)


def line(text: str, width: int, colour: tuple[int, int, int] = (0, 0, 0)) -> Rgb:
    """Draw a line of text on white, truncated; non-ASCII characters become question marks, as OpenCV lacks a font."""
    strip = np.full((LINE, width, 3), 255, np.uint8)
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(strip, plain, (2, LINE - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
    return strip


def mask_picture(mask: Bool[np.ndarray, "H W"], known: Bool[np.ndarray, "H W"]) -> Rgb:
    """Draw a mask: white on the object, black elsewhere, grey where unknown."""
    plane = np.where(known, np.where(mask, 255, 0), UNKNOWN).astype(np.uint8)
    return np.repeat(plane[..., None], 3, axis=2)


def depth_picture(
    depth: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"], low: float, high: float, near: str
) -> Rgb:
    """Draw depth: near is red, far is blue, on a scale from `low` to `high`; grey is unknown."""
    share = (np.where(valid, depth, low) - low) / max(high - low, 1e-6)
    picture = warm(1 - share if near == "low" else share)
    picture[~valid] = UNKNOWN
    return picture


def warm(share: np.ndarray) -> Rgb:
    """Map values from 0 (blue) to 1 (red) to colours."""
    levels = (np.clip(share, 0, 1) * 255).round().astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB), np.uint8)


def outlined(image: Rgb, mask: UInt8[np.ndarray, "H W"]) -> Rgb:
    """Draw the mask's outline on the image at cell size, one pixel wide, just outside of the object."""
    large = fitted(image).copy()
    grown = cv2.resize(mask, large.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    large[(cv2.dilate(grown, np.ones((3, 3), np.uint8)) > 0) & (grown == 0)] = OUTLINE
    return large


def legend(spec: DepthSpec, low: float, high: float) -> Rgb:
    """Draw the legend of the depth colours."""
    unit = " m" if spec.kind == "metric" else ""
    ends = (high, low) if spec.near == "low" else (low, high)  # far, near: from blue to red
    bar = np.repeat(warm(np.linspace(0, 1, 200)[None]), LINE - 6, axis=0)
    bar = np.pad(bar, ((3, 3), (0, 0), (0, 0)), constant_values=255)
    texts = [f"depth: far {ends[0]:.3g}{unit}", f"near {ends[1]:.3g}{unit}; grey: unknown"]
    return np.concatenate([line(texts[0], 130), bar, line(texts[1], 200)], axis=1)


ROLES = ("background", "image", "mask", "depth")
FULL = 64
"""Difference in grey levels that is drawn in full red."""


def worst(index: DatasetIndex, report: Report, count: int = 12) -> Rgb:
    """Draw the worst samples: background, image, mask, depth and the difference of the first two; kinds take turns.

    Mask and depth are drawn from black (least raw value) to white (greatest), because their declaration may be what is
    wrong. The difference goes from blue (none) to red (64 grey levels or more).

    Args:
        index: The data set.
        report: The report of its check, with at least one finding.
        count: Greatest number of rows.
    """
    rows = []
    for one in chosen(report, count):
        row = int(index.samples.rows([one.sample])[0])
        rows.append((f"{one.sample}: {one.kind}: {one.text}", _cells(index, index.samples[row])))
    return page(rows)


def chosen(report: Report, count: int) -> list[Finding]:
    """Choose the worst finding of each kind, then the second worst, and so on, each sample once; in report order."""
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
        found = read_or_fault(index.pictures / path, role, index.declaration)
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
    """Scale raw values from black (the least) to white (the greatest)."""
    values = np.nan_to_num(raw.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    span = max(float(np.ptp(values)), 1e-12)
    plane = ((values - values.min()) / span * 255).round().astype(np.uint8)
    return np.repeat(plane[..., None], 3, axis=2)


def _nothing(kind: str) -> Rgb:
    """Draw a cell that says why there is no picture."""
    cell = np.full((SIDE, SIDE, 3), 220, np.uint8)
    cell[:20] = line(kind, SIDE, (200, 0, 0))
    return cell
