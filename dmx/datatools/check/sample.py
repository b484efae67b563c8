"""Checks of a single sample, starting with the integrity of its files.

Integrity is checked on the bytes of a file before OpenCV decodes it, because OpenCV ignores many errors. PNG has a
checksum for each chunk, so every changed byte is detected. JPEG has none: a changed byte is detected if the
entropy-coded data then end too early or too late or contain an invalid code. Of 60 photographs of 224x224 with random
bytes written over the middle, 12 were detected with 1 byte, 25 with 4, 45 with 16, 54 with 64, 57 with 256 and all with
1,024. Undetected ones are valid JPEGs, often with half the picture lighter or darker, which the comparison of image and
background then reports. NPY and EXR are checked by their readers instead.
"""

import hashlib
import struct
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from kornia_rs.io import ImageDecoder

from dmx.data.declaration import Declaration
from dmx.data.decoding import Decoded, contents
from dmx.data.formats import by_content, refusal
from dmx.data.headers import has_end, header
from dmx.data.layout import DatasetIndex
from dmx.data.reading import check_depth, decoded, out_of_range, to_depth, to_mask, turned_apart
from dmx.data.samples import Record
from dmx.datatools.check.comparison import Context, compare_background, verdict
from dmx.datatools.check.report import Finding
from dmx.errors import DataError

PNG = b"\x89PNG\r\n\x1a\n"
READ = ("PNG", "JPEG", "NPY", "EXR")
RESTORE = "restore the picture or take the sample out of samples.csv"

Fault = tuple[str, str]
"""The kind of a finding, and its text."""


def file_fault(path: Path, role: str) -> Fault | None:
    """Return what is wrong with the bytes of a picture, if anything."""
    try:
        data = contents(path)
    except DataError as error:
        return "missing", str(error).removeprefix(f"{path}: ")
    if not data:
        return "empty-file", f"has no byte; {RESTORE}"
    found = by_content(data)
    if found is None or found.name not in READ:
        return "foreign", f"{refusal(found, role)} (it begins with {data[:8].hex(' ')}), or {RESTORE}"
    if found.name in ("NPY", "EXR"):
        return None
    if not has_end(data):
        return "truncated", f"has no end ({len(data)} bytes); {RESTORE}"
    if found.name == "PNG":
        return _png(data)
    said = header(data)
    return None if said is None or said.too_large or said.channels not in (1, 3) else _jpeg(data)


def _png(data: bytes) -> Fault | None:
    """Verify the CRC-32 of each chunk (length, name, content, checksum)."""
    at = len(PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, end = data[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            return "damaged", f"its chunk at byte {at} does not fit its checksum; {RESTORE}"
        if name == b"IEND":
            return None
        at = end + 4
    return "truncated", f"has no end ({len(data)} bytes); {RESTORE}"


def _jpeg(data: bytes) -> Fault | None:
    """Decode with a reader that treats libjpeg's warnings as errors."""
    try:
        ImageDecoder().decode(data)
    except Exception as error:  # the decoder raises no more specific type
        return "damaged", f"its data are corrupt, or neither grey nor RGB ({error}); {RESTORE}"
    return None


SUMMARY = np.dtype(
    [("image", "u8"), ("mask", "u8"), ("depth", "u8"), ("background", "u8"), ("height", "i4"), ("width", "i4")]
)
"""The values of a sample that are compared between samples: digests of decoded pictures (0: unknown) and size."""


@dataclass
class SampleCheck:
    """The check of one sample: the findings so far, and the pictures that could be read."""

    index: DatasetIndex
    record: Record
    findings: list[Finding] = field(default_factory=list)
    raw: dict[str, np.ndarray] = field(default_factory=dict)
    turns: dict[str, Decoded] = field(default_factory=dict)
    summary: np.ndarray = field(default_factory=lambda: np.zeros((), SUMMARY))

    def note(self, role: str, kind: str, text: str, weight: float = 0.0, context: Context | None = None) -> None:
        """Add a finding about a picture."""
        figures = context.figures() if context is not None else {}
        file = self.record.paths().get(role)
        self.findings.append(Finding(self.record.id, role, file, kind, text, weight, figures=figures))


def check_sample(index: DatasetIndex, record: Record) -> tuple[list[Finding], np.ndarray]:
    """Check one sample; return its findings, and its summary for the comparison with other samples."""
    checked = SampleCheck(index, record)
    for role in record.paths():
        _read(checked, role)
    if index.declaration.exif is None and (said := turned_apart(checked.turns)) is not None:
        checked.note("sample", "turned", said)
    _sizes(checked)
    mask = _mask(checked) if "mask" in checked.raw else None
    if "depth" in checked.raw:
        _depth(checked)
    if mask is not None and {"image", "background"} <= checked.raw.keys():
        _context(checked, *mask)
    return checked.findings, checked.summary


def check_rows(index: DatasetIndex, rows: range) -> tuple[list[Finding], np.ndarray]:
    """`check_sample` for a chunk of samples."""
    checked = [check_sample(index, record) for record in index.samples[rows.start : rows.stop]]
    return [one for findings, _ in checked for one in findings], np.array([summary for _, summary in checked], SUMMARY)


def digest(pixels: np.ndarray) -> int:
    """Compute 64 bits of BLAKE2 over shape and values, never 0; 400,000 digests collide once in 200 million sets."""
    made = hashlib.blake2b(repr((pixels.shape, pixels.dtype.str)).encode(), digest_size=8)
    made.update(np.ascontiguousarray(pixels).data)
    return int.from_bytes(made.digest(), "little") or 1


def _read(checked: SampleCheck, role: str) -> None:
    """Read a picture, or add a finding."""
    file = checked.index.pictures / checked.record.paths()[role]
    if role == "background":
        found = _shared(file, file.stat().st_mtime_ns if file.is_file() else 0, checked.index.declaration)
    else:
        found = read_or_fault(file, role, checked.index.declaration)
    if isinstance(found, tuple):
        checked.note(role, *found)
    else:
        checked.turns[role] = found
        checked.raw[role] = found.pixels
        checked.summary[role] = digest(found.pixels)


def read_or_fault(file: Path, role: str, declared: Declaration) -> Decoded | Fault:
    """Return the decoded picture, or what is wrong with it."""
    if (wrong := file_fault(file, role)) is not None:
        return wrong
    try:
        return decoded(file, role, declared)
    except DataError as error:
        return "unreadable", str(error).removeprefix(f"{file}: ")


@lru_cache(maxsize=4)
def _shared(file: Path, changed: int, declared: Declaration) -> Decoded | Fault:
    """Cache `read_or_fault` of a background for consecutive samples that share it."""
    return read_or_fault(file, "background", declared)


def _sizes(checked: SampleCheck) -> None:
    """Report and drop pictures that differ from the most frequent size; in a tie, the image's size counts."""
    shapes = {role: pixels.shape[:2] for role, pixels in checked.raw.items()}
    if not shapes:
        return
    counts = Counter(shapes.values())
    usual = max(counts, key=lambda shape: (counts[shape], shape == shapes.get("image")))
    checked.summary["height"], checked.summary["width"] = usual
    odd = [role for role, shape in shapes.items() if shape != usual]
    if odd and not any(one.kind == "turned" for one in checked.findings):
        sizes = ", ".join(f"{role} {w}x{h}" for role, (h, w) in shapes.items())
        checked.note(
            odd[0], "size-differs", f"width x height: {sizes}; bring them to one size or take the sample out", len(odd)
        )
    for role in odd:
        del checked.raw[role]


def _mask(checked: SampleCheck) -> tuple[np.ndarray, np.ndarray] | None:
    """Check the mask; return it with its validity mask, or None if it is unusable."""
    file = checked.index.pictures / checked.record.mask
    try:
        mask, known = to_mask(checked.raw["mask"], checked.index.declaration.mask, file)
    except DataError as error:
        checked.note(
            "mask", "mask-not-binary", str(error).removeprefix(f"{file}: "), len(np.unique(checked.raw["mask"]))
        )
        return None
    inside, total = np.count_nonzero(mask), np.count_nonzero(known)
    if 0 < inside < total:
        return mask, known
    if not total:
        kind, text = "mask-unknown", "no pixel is known"
    elif inside:
        kind, text = "mask-full", f"all {total} known pixels are on the object"
    else:
        kind, text = "no-object" if checked.record.background is None else "mask-empty", "no pixel is on the object"
    checked.note("mask", kind, f"{text}; restore the mask, mend `mask` in dataset.yaml, or take the sample out")
    return None


def _depth(checked: SampleCheck) -> None:
    """Check depth against the declaration."""
    declared = checked.index.declaration.depth
    if declared is None or checked.record.depth is None:
        return
    depth, valid = to_depth(checked.raw["depth"], declared)
    outside = int(np.count_nonzero(valid & out_of_range(depth, declared)))
    if valid.any() and not outside:
        return
    checked.summary["depth"] = 0  # unknown depth is the same everywhere; that is said already
    file = checked.index.pictures / checked.record.depth
    try:
        check_depth(depth, valid, declared, file)
    except DataError as error:
        text = str(error).removeprefix(f"{file}: ")
        checked.note("depth", "depth-range" if valid.any() else "depth-unknown", text, outside)


def _context(checked: SampleCheck, mask: np.ndarray, known: np.ndarray) -> None:
    """Compare image and background."""
    context = compare_background(checked.raw["image"], checked.raw["background"], mask, known)
    if context is not None and (said := verdict(context)) is not None:
        kind, text, weight = said
        checked.note("mask" if kind == "mask-misplaced" else "background", kind, text, weight, context)
