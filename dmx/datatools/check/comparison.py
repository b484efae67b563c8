"""Compare image and background in each quartet, and all samples of a set with each other.

A quartet is in context if image and background are the same scene outside of the mask and differ inside it. Two JPEGs
of one scene never have equal pixels. So both are blurred slightly, a band along the mask's edge is left out (masks are
anti-aliased), and four figures are tested; d is the greatest difference of the three channels at a pixel, in grey
levels:

    outside      mean d outside of the mask
    likeness     correlation of image and background outside of the mask, all channels together
    found        share of the mask's inside that differs, d > max(8, 2 * median d outside)
    explained    share of the clearly differing pixels that lie in the mask, d > max(24, Otsu's threshold of d)

Each limit states the figures measured in intact quartets ("whole": 192 synthetic ones of 32x32 to 128x128, 22 real ones
of EVA4; also after JPEG of quality 50 and 25 on both or one) and in spoilt ones. JPEG of quality 25 at 64x64 removes so
much fine coloured texture that it may be reported as a difference.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from dmx.data.layout import DatasetIndex
from dmx.datatools.check.report import Finding

Picture = UInt8[np.ndarray, "H W 3"]
Plane = UInt8[np.ndarray, "H W"]
Where = Bool[np.ndarray, "H W"]

LEAST = 16
"""Pixels on either side of the mask's edge below which nothing is judged."""
OUTSIDE = 12.0
"""Greatest mean difference outside of the mask. Whole: at most 5.4 (EVA4), 11.4 with JPEG of quality 25. Spoilt:
background of another scene at least 31, flipped 13, shifted by an eighth 16, image brighter by 20 levels 15."""
ALIKE, ALIKE_FROM = 0.92, 6.0
"""Least correlation outside of the mask, where the mean difference is above the second. Whole: at least 0.967, with
JPEG of quality 25 at 64x64 and more 0.957. Spoilt, at 64x64: background shifted by a twentieth or flipped at most 0.91.
"""
FOUND = 0.6
"""Least share of the mask's inside that differs. Whole: at least 0.88, with JPEG of quality 50 0.70. Spoilt: mask
shifted by its width at 64x64 at most 0.33, the mask of another sample 0.03 at the 5th percentile."""
EXPLAINED = 0.5
"""Least share of what differs clearly that lies in the mask. Whole: 0.99, with JPEG of quality 50 0.86."""
SMOOTH = 6.0
"""The median difference outside of the mask up to which image and background are one scene, in grey levels."""


@dataclass(frozen=True)
class Context:
    """How image and background agree; see the module's docstring.

    Attributes:
        outside: Mean difference outside of the mask, in grey levels from 0 to 255.
        middle: Median difference outside of the mask.
        likeness: Correlation outside of the mask, from -1 to 1; 1 if either picture is flat.
        found: Share of the inside that differs, from 0 to 1.
        explained: Share of what differs that lies in the mask, from 0 to 1; 1 where nothing differs clearly.
    """

    outside: float
    middle: float
    likeness: float
    found: float
    explained: float

    def figures(self) -> dict[str, float]:
        """Return the figures by name, for a report."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def difference(image: Picture, background: Picture) -> Plane:
    """Compute the greatest difference of the three channels, after a 3x3 blur that reduces compression noise."""
    return np.asarray(cv2.absdiff(_smooth(image), _smooth(background)).max(axis=2), np.uint8)


def compare_background(image: Picture, background: Picture, mask: Plane, known: Where) -> Context | None:
    """Compare image and background inside and outside of the mask.

    Args:
        image: The scene with the object.
        background: The scene without it, of the same size.
        mask: 1 on the object.
        known: Where the mask is known; other pixels are left out.

    Returns:
        The figures; None if there are too few pixels inside or outside.
    """
    band = 2 * max(1, round(min(mask.shape) / 64)) + 1
    kernel = np.ones((band, band), np.uint8)
    near = (cv2.dilate(mask, kernel) > 0) & known
    core = (cv2.erode(mask, kernel) > 0) & known
    if np.count_nonzero(core) < LEAST:  # a thin object
        core = (mask > 0) & known
    out = known & ~near
    if min(np.count_nonzero(core), np.count_nonzero(out)) < LEAST:
        return None
    d = difference(image, background)
    away = d[out]
    middle = float(np.median(away))
    otsu, _ = cv2.threshold(d, 0, 255, cv2.THRESH_OTSU)
    clear = (d > max(24.0, otsu)) & known
    return Context(
        outside=float(away.mean()),
        middle=middle,
        likeness=_correlation(_smooth(image)[out], _smooth(background)[out]),
        found=float((d[core] > max(8.0, 2 * middle)).mean()),
        explained=float((clear & near).sum() / max(1, clear.sum())) if clear.any() else 1.0,
    )


def verdict(context: Context) -> tuple[str, str, float] | None:
    """Turn the figures into a finding.

    If the scene is the same but does not differ inside the mask, the mask is reported; otherwise the background, though
    the image may equally be wrong.

    Returns:
        Kind, text and severity of the finding; None if the quartet is in context.
    """
    strange = context.outside > OUTSIDE or (context.outside > ALIKE_FROM and context.likeness < ALIKE)
    if context.found < FOUND and context.middle <= SMOOTH:
        return (
            "mask-misplaced",
            f"only {context.found:.0%} of the mask's inside differs between image and background, and "
            f"{context.explained:.0%} of what differs lies in the mask; the mask is shifted, flipped or another "
            "sample's: restore it or take the sample out",
            1 - context.found,
        )
    if strange or context.found < FOUND or context.explained < EXPLAINED:
        return (
            "background-differs",
            f"outside of the mask image and background differ by {context.outside:.1f} grey levels on average "
            f"(correlation {context.likeness:.2f}), and {context.explained:.0%} of what differs lies in the mask; the "
            "background is another scene, shifted or flipped, or the mask leaves out part of the object: restore them "
            "or take the sample out",
            context.outside,
        )
    return None


def _smooth(picture: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0), np.uint8)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Compute Pearson's correlation of all values; 1 if either picture is flat."""
    x, y = a.astype(np.float32).ravel(), b.astype(np.float32).ravel()
    x -= x.mean()
    y -= y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > len(x) else 1.0  # below one grey level there is only noise


USUAL = 0.9
"""Share of samples that must have the same size for other sizes to be reported as unusual."""


def compare_samples(index: DatasetIndex, summaries: np.ndarray) -> Iterator[Finding]:
    """Yield findings from comparing samples with each other, by their summaries from `check_sample`."""
    groups = [str(group) for group in index.samples.column("group")]
    yield from _copies(index, summaries, groups)
    yield from _leaks(index, summaries["background"], groups)
    yield from _depths(index, summaries)
    yield from _torn(index, groups)
    yield from _odd_sizes(index, summaries)


def _copies(index: DatasetIndex, summaries: np.ndarray, groups: Sequence[str]) -> Iterator[Finding]:
    """Yield images that occur under two ids; the one with the lower id counts as the original."""
    for first, row in _repeats(summaries["image"]):
        one, other = index.samples[first], index.samples[row]
        same = summaries["mask"][first] == summaries["mask"][row] != 0
        apart = groups[first] != groups[row]
        where = f"in group '{one.group}' and here in '{other.group}'" if apart else f"in the same group '{one.group}'"
        text = f"its image has the same pixels as that of '{one.id}', {where}"
        if same:
            yield Finding(other.id, "sample", None, "duplicate", f"{text}, and so has its mask; take one out", apart)
        elif apart:
            yield Finding(other.id, "image", other.image, "leak", f"{text}; give both one group, or take one out")
        else:
            yield Finding(other.id, "image", other.image, "image-repeated", f"{text}; take one out if it is a mistake")


def _leaks(index: DatasetIndex, digests: np.ndarray, groups: Sequence[str]) -> Iterator[Finding]:
    """Yield backgrounds shared by several groups, once per group; the group that uses it most is not reported."""
    for row, owner, counts in _strays(digests.tolist(), groups):
        if digests[row]:  # 0: unknown
            record, count = index.samples[row], counts[groups[row]]
            text = (
                f"group '{groups[row]}' shows the background of group '{owner}', so that a split by group leaks; give "
                "both one group, or restore the background"
            )
            yield Finding(record.id, "background", record.background, "leak", text, count, affected=count)


def _strays(keys: Sequence[Any], values: Sequence[Any]) -> Iterator[tuple[int, Any, Counter[Any]]]:
    """Yield the first row of each value but the most frequent one of its key, with that one and the key's counts."""
    counts: dict[Any, Counter[Any]] = defaultdict(Counter)
    for key, value in zip(keys, values, strict=True):
        counts[key][value] += 1
    home = {key: counted.most_common(1)[0][0] for key, counted in counts.items()}
    reported: set[tuple[Any, Any]] = set()
    for row, (key, value) in enumerate(zip(keys, values, strict=True)):
        if value != home[key] and (key, value) not in reported:
            reported.add((key, value))
            yield row, home[key], counts[key]


def _depths(index: DatasetIndex, summaries: np.ndarray) -> Iterator[Finding]:
    for first, row in _repeats(summaries["depth"]):
        if summaries["image"][first] != summaries["image"][row]:
            other = index.samples[row]
            text = f"the depth of '{index.samples[first].id}', of which the image differs; look whose depth it is"
            yield Finding(other.id, "depth", other.depth, "depth-repeated", text)


def _torn(index: DatasetIndex, groups: Sequence[str]) -> Iterator[Finding]:
    """Yield groups that the official split divides; they are reported for the parts with fewer of their samples."""
    parts = index.samples.column("split")
    for row, home, counts in _strays(groups, parts):
        count = counts[parts[row]]
        text = (
            f"group '{groups[row]}' stands in {home} ({counts[home]} samples) and in {parts[row]} ({count}); mend "
            "`split` or `group` in samples.csv"
        )
        yield Finding(index.samples[row].id, "sample", None, "group-torn", text, count, affected=count)


def _odd_sizes(index: DatasetIndex, summaries: np.ndarray) -> Iterator[Finding]:
    sizes = list(zip(summaries["width"].tolist(), summaries["height"].tolist(), strict=True))
    counts = Counter(size for size in sizes if size != (0, 0))
    usual, often = counts.most_common(1)[0] if counts else ((0, 0), 0)
    if often < USUAL * counts.total() or often == counts.total():
        return
    for row, size in enumerate(sizes):
        if size not in (usual, (0, 0)):
            text = f"is {size[0]}x{size[1]} where {often} of {counts.total()} samples are {usual[0]}x{usual[1]}"
            yield Finding(
                index.samples[row].id, "sample", None, "size-unusual", f"{text}; look whether it belongs here"
            )


def _repeats(digests: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield rows whose digest occurred before, with its first row; unknown digests (0) never match."""
    first: dict[int, int] = {}
    for row, made in enumerate(digests.tolist()):
        if made and first.setdefault(made, row) != row:
            yield first[made], row
