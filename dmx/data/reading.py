"""From the files of one sample to a `Quartet`, or to a message that says which file is wrong and how."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from dmx.data.declaration import DepthDeclaration, MaskDeclaration
from dmx.data.decoding import colour, grey
from dmx.data.layout import DatasetIndex
from dmx.data.samples import Record
from dmx.errors import DataError
from dmx.quartet import Quartet

KEPT_BYTES = 128 * 2**20
"""Decoded backgrounds that are kept for the samples that share them."""

_kept: dict[tuple[Path, int], UInt8[np.ndarray, "H W 3"]] = {}


def read_quartet(index: DatasetIndex, record: Record) -> Quartet:
    """Read the pictures of one sample.

    Raises:
        DataError: A picture cannot be read, shapes differ, the mask is not binary, or depth is nowhere known or out of
            the declared range.
    """
    root = index.pictures
    image = colour(root / record.image)
    background = shared_background(root / record.background) if record.background is not None else None
    mask, mask_valid = read_mask(root / record.mask, index.declaration.mask)
    depth, valid = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, bool)
    if record.depth is not None and index.declaration.depth is not None:
        depth, valid = read_depth(root / record.depth, index.declaration.depth)
    sizes = {"image": image.shape[:2], "mask": mask.shape, "depth": depth.shape}
    if background is not None:
        sizes["background"] = background.shape[:2]
    check_sizes(index.root, record.id, sizes)
    return Quartet(record.id, record.group, image, background, mask, mask_valid, depth, valid)


def check_sizes(root: Path, name: str, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Make sure that the pictures of the sample `name` have one size.

    Raises:
        DataError: They have not.
    """
    if len(set(sizes.values())) > 1:
        listing = ", ".join(f"{role} {width}x{height}" for role, (height, width) in sizes.items())
        raise DataError(
            f"{root}: the pictures of sample '{name}' differ in size (width x height: {listing}); bring them to one "
            "size or take the sample out of samples.csv."
        )


def shared_background(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """A background, decoded once for all the samples that share it; the array is read-only for that reason."""
    try:
        key = (path, path.stat().st_mtime_ns)
    except OSError:
        return colour(path)  # which says that it is not there
    if (found := _kept.get(key)) is not None:
        return found
    pixels = colour(path)
    pixels.flags.writeable = False
    if sum(one.nbytes for one in list(_kept.values())) + pixels.nbytes > KEPT_BYTES:
        _kept.clear()
    _kept[key] = pixels
    return pixels


def read_mask(path: Path, declared: MaskDeclaration) -> tuple[UInt8[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """1 on the object, 0 elsewhere; and where that is known.

    Raises:
        DataError: The file cannot be read or is not binary.
    """
    return to_mask(raw_mask(path, declared), declared, path)


def raw_mask(path: Path, declared: MaskDeclaration) -> np.ndarray:
    """The raw values (H, W) of a mask: its opacity, its labels or its one channel, as declared.

    Raises:
        DataError: The file cannot be read.
    """
    return grey(path, alpha=declared.alpha, indices=declared.labels is not None and not declared.alpha)


def to_mask(
    raw: np.ndarray, declared: MaskDeclaration, path: Path
) -> tuple[UInt8[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Read raw values as a mask; `path` is for the message."""
    known = np.ones(raw.shape, bool) if declared.unknown is None else raw != declared.unknown
    if declared.threshold is not None:
        return ((raw > declared.threshold) & known).astype(np.uint8), known
    if declared.labels is not None:
        return (np.isin(raw, declared.labels) & known).astype(np.uint8), known
    values = np.unique(raw[known])
    if np.count_nonzero(values) > 1:
        shown = ", ".join(str(value) for value in values[:6]) + (", ..." if len(values) > 6 else "")
        raise DataError(
            f"{path}: is not a binary mask: it has {len(values)} values ({shown}) where 0 and one other are expected; "
            "declare `mask.threshold` (127 suits 8-bit pictures), `mask.labels` or `mask.unknown` in dataset.yaml."
        )
    return ((raw > 0) & known).astype(np.uint8), known


def read_depth(path: Path, declared: DepthDeclaration) -> tuple[Float32[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Depth in the unit of the data set, and where it is known.

    Raises:
        DataError: The file cannot be read, or its depth is nowhere known or out of the declared range.
    """
    depth, valid = to_depth(grey(path), declared)
    check_depth(depth, valid, declared, path)
    return depth, valid


def check_depth(
    depth: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"], declared: DepthDeclaration, path: Path
) -> None:
    """Make sure that depth is known somewhere and in the declared range; `path` is for the message.

    Raises:
        DataError: It is not.
    """
    if not valid.any():
        unknown = ", ".join(f"{value:g}" for value in declared.unknown)
        raise DataError(
            f"{path}: has no pixel of known depth (depth {depth.min():g} to {depth.max():g}, unknown raw values: "
            f"[{unknown}]); mend `depth.unknown` in dataset.yaml or take the sample out."
        )
    outside = valid & out_of_range(depth, declared)
    if outside.any():
        raise DataError(
            f"{path}: {np.count_nonzero(outside)} of {np.count_nonzero(valid)} known pixels lie outside the declared "
            f"range [{declared.range[0]:g}, {declared.range[1]:g}] (least {depth[valid].min():g}, greatest "
            f"{depth[valid].max():g}); mend `depth.range`, `scale`, `offset` or `unknown` in dataset.yaml, or say "
            "`outside: unknown`."
        )


def to_depth(
    raw: np.ndarray, declared: DepthDeclaration
) -> tuple[Float32[np.ndarray, "*shape"], Bool[np.ndarray, "*shape"]]:
    """Read raw values as depth: raw * scale + offset or its inverse; and where it is known."""
    if declared.rotated:
        bits = raw.astype(np.uint16)
        raw = (bits >> declared.rotated) | (bits << (16 - declared.rotated))
    valid = np.isfinite(raw) if raw.dtype.kind == "f" else np.ones(raw.shape, bool)
    with np.errstate(over="ignore"):
        written = raw.astype(np.float32) if raw.dtype == np.float64 else raw  # 0.1 in float32 is not that of float64
        for value in declared.unknown:
            valid &= written != value
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = raw * np.float64(declared.scale)  # not float32, in which 3000 * 0.001 is 3.0000002
        if declared.offset:
            depth += declared.offset
        if declared.form == "inverse":
            np.reciprocal(depth, out=depth)
    depth = depth.astype(np.float32)
    if declared.outside == "unknown":
        valid &= ~out_of_range(depth, declared)
    return depth, valid


def out_of_range(depth: Float32[np.ndarray, "*shape"], declared: DepthDeclaration) -> Bool[np.ndarray, "*shape"]:
    """Where depth is not in the declared range, but for what float32 rounds; NaN and infinity are not."""
    low, high = declared.range
    slack = 1e-6 * high
    return ~((depth >= low - slack) & (depth <= high + slack))
