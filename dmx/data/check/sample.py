"""Everything that can be said of one sample alone."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from dmx.data.check.context import Context, compare, verdict
from dmx.data.check.finding import Finding
from dmx.data.check.whole import Fault, fault
from dmx.data.declaration import Declaration
from dmx.data.decoding import Decoded
from dmx.data.layout import DatasetIndex
from dmx.data.reading import check_depth, decoded, out_of_range, to_depth, to_mask, turned_apart
from dmx.data.samples import Record
from dmx.errors import DataError

SEEN = np.dtype(
    [("image", "u8"), ("mask", "u8"), ("depth", "u8"), ("background", "u8"), ("height", "i4"), ("width", "i4")]
)
"""What is kept of a sample for comparison with all others: digests of its decoded pictures (0: unknown), its size."""


@dataclass
class Look:
    """One sample as it is looked at: the findings so far, and the pictures that could be read."""

    index: DatasetIndex
    record: Record
    findings: list[Finding] = field(default_factory=list)
    raw: dict[str, np.ndarray] = field(default_factory=dict)
    turns: dict[str, Decoded] = field(default_factory=dict)
    seen: np.ndarray = field(default_factory=lambda: np.zeros((), SEEN))

    def note(self, role: str, kind: str, text: str, weight: float = 0.0, context: Context | None = None) -> None:
        """Add a finding about a picture."""
        figures = context.figures() if context is not None else {}
        file = self.record.paths().get(role)
        self.findings.append(Finding(self.record.id, role, file, kind, text, weight, figures=figures))


def look(index: DatasetIndex, record: Record) -> tuple[list[Finding], np.ndarray]:
    """What is wrong with one sample, and what to compare of it with others."""
    seen = Look(index, record)
    for role in record.paths():
        _read(seen, role)
    if index.declaration.exif is None and (said := turned_apart(seen.turns)) is not None:
        seen.note("sample", "turned", said)
    _sizes(seen)
    mask = _mask(seen) if "mask" in seen.raw else None
    if "depth" in seen.raw:
        _depth(seen)
    if mask is not None and {"image", "background"} <= seen.raw.keys():
        _context(seen, *mask)
    return seen.findings, seen.seen


def look_at(index: DatasetIndex, rows: range) -> tuple[list[Finding], np.ndarray]:
    """`look` for a chunk of samples."""
    looks = [look(index, record) for record in index.samples[rows.start : rows.stop]]
    return [finding for found, _ in looks for finding in found], np.array([seen for _, seen in looks], SEEN)


def digest(pixels: np.ndarray) -> int:
    """64 bits of BLAKE2 of shape and values, never 0; among 400,000 two meet by chance once in 200 million sets."""
    made = hashlib.blake2b(repr((pixels.shape, pixels.dtype.str)).encode(), digest_size=8)
    made.update(np.ascontiguousarray(pixels).data)
    return int.from_bytes(made.digest(), "little") or 1


def _read(seen: Look, role: str) -> None:
    """Read a picture, or say why not."""
    file = seen.index.pictures / seen.record.paths()[role]
    if role == "background":
        found = _shared(file, file.stat().st_mtime_ns if file.is_file() else 0, seen.index.declaration)
    else:
        found = opened(file, role, seen.index.declaration)
    if isinstance(found, tuple):
        seen.note(role, *found)
    else:
        seen.turns[role] = found
        seen.raw[role] = found.pixels
        seen.seen[role] = digest(found.pixels)


def opened(file: Path, role: str, declared: Declaration) -> Decoded | Fault:
    """The decoded picture, or what is wrong with it."""
    if (wrong := fault(file, role)) is not None:
        return wrong
    try:
        return decoded(file, role, declared)
    except DataError as error:
        return "unreadable", str(error).removeprefix(f"{file}: ")


@lru_cache(maxsize=4)
def _shared(file: Path, changed: int, declared: Declaration) -> Decoded | Fault:
    """A background, opened once for the samples that follow each other and share it."""
    return opened(file, "background", declared)


def _sizes(seen: Look) -> None:
    """Leave out, and say, which pictures are not of the size of most; of the image where as many are of another."""
    shapes = {role: pixels.shape[:2] for role, pixels in seen.raw.items()}
    if not shapes:
        return
    counts = Counter(shapes.values())
    usual = max(counts, key=lambda shape: (counts[shape], shape == shapes.get("image")))
    seen.seen["height"], seen.seen["width"] = usual
    odd = [role for role, shape in shapes.items() if shape != usual]
    if odd and not any(one.kind == "turned" for one in seen.findings):
        sizes = ", ".join(f"{role} {w}x{h}" for role, (h, w) in shapes.items())
        seen.note(
            odd[0], "size-differs", f"width x height: {sizes}; bring them to one size or take the sample out", len(odd)
        )
    for role in odd:
        del seen.raw[role]


def _mask(seen: Look) -> tuple[np.ndarray, np.ndarray] | None:
    """The mask and where it is known; None where it shows nothing."""
    file = seen.index.pictures / seen.record.mask
    try:
        mask, known = to_mask(seen.raw["mask"], seen.index.declaration.mask, file)
    except DataError as error:
        seen.note("mask", "mask-not-binary", str(error).removeprefix(f"{file}: "), len(np.unique(seen.raw["mask"])))
        return None
    inside, total = np.count_nonzero(mask), np.count_nonzero(known)
    if 0 < inside < total:
        return mask, known
    if not total:
        kind, text = "mask-unknown", "no pixel is known"
    elif inside:
        kind, text = "mask-full", f"all {total} known pixels are on the object"
    else:
        kind, text = "no-object" if seen.record.background is None else "mask-empty", "no pixel is on the object"
    seen.note("mask", kind, f"{text}; restore the mask, mend `mask` in dataset.yaml, or take the sample out")
    return None


def _depth(seen: Look) -> None:
    """Hold depth against what the data set declares."""
    declared = seen.index.declaration.depth
    if declared is None or seen.record.depth is None:
        return
    depth, valid = to_depth(seen.raw["depth"], declared)
    outside = int(np.count_nonzero(valid & out_of_range(depth, declared)))
    if valid.any() and not outside:
        return
    seen.seen["depth"] = 0  # unknown depth is the same everywhere; that is said already
    file = seen.index.pictures / seen.record.depth
    try:
        check_depth(depth, valid, declared, file)
    except DataError as error:
        text = str(error).removeprefix(f"{file}: ")
        seen.note("depth", "depth-range" if valid.any() else "depth-unknown", text, outside)


def _context(seen: Look, mask: np.ndarray, known: np.ndarray) -> None:
    """Hold image and background against each other."""
    context = compare(seen.raw["image"], seen.raw["background"], mask, known)
    if context is not None and (said := verdict(context)) is not None:
        kind, text, weight = said
        seen.note("mask" if kind == "mask-misplaced" else "background", kind, text, weight, context)
