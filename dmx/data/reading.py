"""Read the files of one sample as a `Quartet`, or raise an error that says which file is wrong and why."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from dmx.data.declaration import Declaration, DepthDeclaration, MaskDeclaration
from dmx.data.decoding import Decoded, photograph, plane
from dmx.data.layout import DatasetIndex
from dmx.data.samples import Record
from dmx.errors import DataError
from dmx.quartet import Quartet

KEPT_BYTES = 128 * 2**20
"""Size of the cache of decoded backgrounds, for samples that share them."""

_kept: dict[tuple[Path, int, bool], Decoded] = {}


def read_quartet(index: DatasetIndex, record: Record) -> Quartet:
    """Read the pictures of one sample.

    Raises:
        DataError: A picture cannot be read, sizes differ, EXIF orientations contradict each other, the mask is not
            binary, or depth is unknown everywhere or out of the declared range.
    """
    root, declared = index.pictures, index.declaration
    raw = read_raw(index, record)
    mask, mask_valid = to_mask(raw["mask"], declared.mask, root / record.mask)
    depth, valid = np.zeros(mask.shape, np.float32), np.zeros(mask.shape, bool)
    if record.depth is not None and declared.depth is not None:
        depth, valid = to_depth(raw["depth"], declared.depth)
        check_depth(depth, valid, declared.depth, root / record.depth)
    return Quartet(record.id, record.group, raw["image"], raw.get("background"), mask, mask_valid, depth, valid)


def read_raw(index: DatasetIndex, record: Record) -> dict[str, np.ndarray]:
    """Read the raw values of a sample's pictures by role, checked for equal size and consistent orientation.

    Depth is only read if it is declared.

    Raises:
        DataError: A picture cannot be read, sizes differ, or EXIF orientations contradict each other.
    """
    paths = record.paths()
    if index.declaration.depth is None:
        paths.pop("depth", None)
    found = {role: decoded(index.pictures / path, role, index.declaration) for role, path in paths.items()}
    if index.declaration.exif is None and (said := turned_apart(found)) is not None:
        raise DataError(f"{index.root}: the pictures of sample '{record.id}' {said}.")
    check_sizes(index.root, record.id, {role: one.pixels.shape[:2] for role, one in found.items()})
    return {role: one.pixels for role, one in found.items()}


def decoded(path: Path, role: str, declared: Declaration) -> Decoded:
    """Read one picture according to its role and the data set's declaration.

    Raises:
        DataError: It cannot be read.
    """
    upright = declared.exif == "upright"
    if role == "background":
        return shared_background(path, upright=upright)
    if role == "image":
        return photograph(path, upright=upright)
    if role == "depth":
        channel = None if declared.depth is None else declared.depth.channel
        return plane(path, "depth", channel=channel, upright=upright)
    mask = declared.mask
    indices = mask.labels is not None and not mask.alpha
    found = plane(path, "mask", channel=mask.channel, alpha=mask.alpha, indices=indices, upright=upright)
    few = found.bits < 8 and not mask.alpha and (indices or not found.palette)
    return few_bits(found, mask, path) if few else found


def few_bits(found: Decoded, mask: MaskDeclaration, path: Path) -> Decoded:
    """Scale the values of a mask PNG of 1, 2 or 4 bits as the declaration expects; `path` is for the message.

    The stored numbers, 0 to 1, 3 or 15, are kept, unless the declaration names 8-bit grey levels, such as 255 for
    white: then they are scaled to 0 to 255.

    Raises:
        DataError: The declaration mixes both, or names grey levels for a palette PNG.
    """
    most = 2**found.bits - 1
    step = 255 // most
    named = [*(mask.labels or ()), *(() if mask.unknown is None else (mask.unknown,))]
    own = any(0 < one <= most for one in named) or 0 < (mask.threshold or 0) < most
    grey = any(most < one <= 255 and one % step == 0 for one in named) or (mask.threshold or 0) >= most
    if not grey or (own and found.palette):
        return found
    if own or found.palette:
        kind = "indices of a palette" if found.palette else "numbers"
        given = mask.model_dump(include={"threshold", "labels", "unknown"}, exclude_none=True, mode="json")
        shown = ", ".join(f"{key}: {value}" for key, value in given.items())
        raise DataError(
            f"{path}: is a PNG of {found.bits} bits, which hold {kind} from 0 to {most}, where `mask: {{{shown}}}` in "
            "dataset.yaml speaks of greys up to 255; give those numbers alone there, or save it as a grey picture of "
            "8 bits."
        )
    return replace(found, pixels=found.pixels * np.uint8(step))


def turned_apart(found: Mapping[str, Decoded]) -> str | None:
    """Check for different EXIF orientations among a sample's pictures that leave open how they are aligned.

    If the pictures have different sizes once turned upright, the stored pixels are used as they are: mask and depth
    must have been drawn on those.

    Returns:
        The message; None if there is no problem.
    """
    by_role = {role: one.orientation for role, one in found.items()}
    if len(set(by_role.values())) < 2:
        return None
    stored = {one.pixels.shape[:2] for one in found.values()}
    upright = {one.pixels.shape[1::-1] if one.orientation >= 5 else one.pixels.shape[:2] for one in found.values()}
    if len(upright) > 1:  # whether or not the stored sizes are equal
        return None
    listing = ", ".join(f"{role} {orientation}" for role, orientation in by_role.items())
    told = (
        "nothing tells whether mask and depth were drawn on the turned photograph"
        if len(stored) == 1
        else "they have one size only where that is done"
    )
    return (
        f"are to be turned in different ways by EXIF's orientation ({listing}), and {told}; say in dataset.yaml "
        "`exif: upright` (turn each as its EXIF says) or `exif: stored` (turn none), or turn the pixels themselves"
    )


def check_sizes(root: Path, name: str, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Make sure that the pictures of the sample `name` have one size.

    Raises:
        DataError: Sizes differ.
    """
    if len(set(sizes.values())) > 1:
        listing = ", ".join(f"{role} {width}x{height}" for role, (height, width) in sizes.items())
        raise DataError(
            f"{root}: the pictures of sample '{name}' differ in size (width x height: {listing}); bring them to one "
            "size or take the sample out of samples.csv."
        )


def shared_background(path: Path, *, upright: bool = False) -> Decoded:
    """Read a background through a cache for samples that share it; the array is therefore read-only."""
    try:
        key = (path, path.stat().st_mtime_ns, upright)
    except (OSError, ValueError):
        return photograph(path)  # raises the error for a missing file
    if (found := _kept.get(key)) is not None:
        return found
    found = photograph(path, upright=upright)
    found.pixels.flags.writeable = False
    if sum(one.pixels.nbytes for one in list(_kept.values())) + found.pixels.nbytes > KEPT_BYTES:
        _kept.clear()
    _kept[key] = found
    return found


def to_mask(
    raw: np.ndarray, declared: MaskDeclaration, path: Path
) -> tuple[UInt8[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Convert raw values to a mask and where it is known (never where not finite); `path` is for the message.

    Raises:
        DataError: The declaration does not say which values are the object, and they are not 0 and one above it.
    """
    known = np.isfinite(raw) if raw.dtype.kind == "f" else np.ones(raw.shape, bool)
    if declared.unknown is not None:
        with np.errstate(over="ignore"):  # float16 has no 65535
            known &= raw != declared.unknown
    if declared.threshold is not None:
        return ((raw > declared.threshold) & known).astype(np.uint8), known
    if declared.labels is not None:
        return (np.isin(raw, declared.labels) & known).astype(np.uint8), known
    values = np.unique(raw[known])
    if np.count_nonzero(values) > 1 or (values < 0).any():
        shown = ", ".join(str(value) for value in values[:6]) + (", ..." if len(values) > 6 else "")
        raise DataError(
            f"{path}: is not a binary mask: it has {len(values)} values ({shown}) where 0 and one above it are "
            "expected; declare `mask.threshold` (127 suits 8-bit pictures), `mask.labels` or `mask.unknown` in "
            "dataset.yaml."
        )
    return ((raw > 0) & known).astype(np.uint8), known


def read_depth(
    path: Path, declared: DepthDeclaration, *, upright: bool = False
) -> tuple[Float32[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Read depth in the data set's unit, and its validity mask.

    Raises:
        DataError: The file cannot be read, or its depth is unknown everywhere or out of the declared range.
    """
    depth, valid = to_depth(plane(path, "depth", channel=declared.channel, upright=upright).pixels, declared)
    check_depth(depth, valid, declared, path)
    return depth, valid


def check_depth(
    depth: Float32[np.ndarray, "H W"], valid: Bool[np.ndarray, "H W"], declared: DepthDeclaration, path: Path
) -> None:
    """Check that some depth is known and all known depth is in the declared range; `path` is for the message.

    Raises:
        DataError: A check fails.
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
    """Convert raw values to depth, raw * scale + offset or its inverse, and a validity mask."""
    if declared.rotated:
        bits = raw.astype(np.uint16)
        raw = (bits >> declared.rotated) | (bits << (16 - declared.rotated))
    valid = np.isfinite(raw) if raw.dtype.kind == "f" else np.ones(raw.shape, bool)
    with np.errstate(over="ignore"):
        written = raw.astype(np.float32) if raw.dtype == np.float64 else raw  # 0.1 differs between float32 and float64
        for value in declared.unknown:
            valid &= written != value
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = raw * np.float64(declared.scale)  # in float32 3000 * 0.001 is 3.0000002
        if declared.offset:
            depth += declared.offset
        if declared.form == "inverse":
            np.reciprocal(depth, out=depth)
    depth = depth.astype(np.float32)
    if declared.outside == "unknown":
        valid &= ~out_of_range(depth, declared)
    return depth, valid


def out_of_range(depth: Float32[np.ndarray, "*shape"], declared: DepthDeclaration) -> Bool[np.ndarray, "*shape"]:
    """Return where depth is outside the declared range, with tolerance for float32 rounding; False if not finite."""
    low, high = declared.range
    slack = 1e-6 * high
    return ~((depth >= low - slack) & (depth <= high + slack))
