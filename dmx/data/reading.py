"""From the files of one sample to a `Quartet`, or to a message that says which file is wrong and how."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8, UInt16

from dmx.data.declaration import DepthDeclaration, MaskDeclaration
from dmx.data.layout import DatasetIndex
from dmx.data.samples import Record
from dmx.errors import DataError
from dmx.quartet import Quartet

ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}
"""How a whole JPEG and a whole PNG end, by how they begin."""
KEPT_BYTES = 128 * 2**20
"""Decoded backgrounds that are kept for the samples that share them."""

_kept: dict[tuple[Path, int], UInt8[np.ndarray, "H W 3"]] = {}

Raw = UInt8[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]


def read_quartet(index: DatasetIndex, record: Record) -> Quartet:
    """Read the pictures of one sample.

    Raises:
        DataError: A picture cannot be read, shapes differ, the mask is not binary, or depth is nowhere known or out of
            the declared range.
    """
    root = index.root
    image = _colour(root / record.image)
    background = _background(root / record.background) if record.background is not None else None
    mask, mask_valid = _mask(root / record.mask, index.declaration.mask)
    depth, valid = _depth(root / record.depth, index.declaration.depth)
    shapes = {"image": image.shape[:2], "mask": mask.shape, "depth": depth.shape}
    if background is not None:
        shapes["background"] = background.shape[:2]
    if len(set(shapes.values())) > 1:
        sizes = ", ".join(f"{role} {w}x{h}" for role, (h, w) in shapes.items())
        raise DataError(
            f"{root}: the pictures of sample '{record.id}' differ in size (width x height: {sizes}); bring them to one "
            "size or take the sample out of samples.csv."
        )
    return Quartet(record.id, record.group, image, background, mask, mask_valid, depth, valid)


def _decode(path: Path, flags: int) -> np.ndarray:
    """Decode a whole PNG or JPEG; OpenCV fills what is missing of a truncated JPEG with grey and says nothing."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); put the picture there or take its row out."
        ) from error
    end = ENDS.get(data[:2])
    if end is None:
        raise DataError(f"{path}: is neither PNG nor JPEG; convert it or take its row out.")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if end in data[-64:] else None
    if pixels is None:
        raise DataError(
            f"{path}: is truncated or damaged ({len(data)} bytes); restore the picture or take its row out."
        )
    return pixels


def _colour(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    return _decode(path, cv2.IMREAD_COLOR_RGB)


def _background(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """A background, decoded once for all the samples that share it; the array is read-only for that reason."""
    try:
        key = (path, path.stat().st_mtime_ns)
    except OSError:
        return _colour(path)  # which says that it is not there
    if (found := _kept.get(key)) is not None:
        return found
    pixels = _colour(path)
    pixels.flags.writeable = False
    if sum(one.nbytes for one in list(_kept.values())) + pixels.nbytes > KEPT_BYTES:
        _kept.clear()
    _kept[key] = pixels
    return pixels


def _grey(path: Path) -> Raw:
    """Raw values of one channel, 8 or 16 bit; three equal channels are one."""
    pixels = _decode(path, cv2.IMREAD_UNCHANGED)
    if pixels.ndim == 3:
        if not (pixels[..., :1] == pixels[..., 1:3]).all():
            raise DataError(f"{path}: has colours where one value per pixel is needed; save it as a grey picture.")
        pixels = pixels[..., 0]
    return pixels


def _mask(path: Path, declared: MaskDeclaration) -> tuple[UInt8[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """1 on the object, 0 elsewhere; and where that is known."""
    raw = _grey(path)
    known = np.ones(raw.shape, bool) if declared.unknown is None else raw != declared.unknown
    if declared.threshold is not None:
        return ((raw > declared.threshold) & known).astype(np.uint8), known
    values = np.unique(raw[known])
    if np.count_nonzero(values) > 1:
        shown = ", ".join(str(value) for value in values[:6]) + (", ..." if len(values) > 6 else "")
        raise DataError(
            f"{path}: is not a binary mask: it has {len(values)} values ({shown}) where 0 and one other are expected; "
            "declare `mask.threshold` (127 suits 8-bit pictures) or `mask.unknown` in dataset.yaml."
        )
    return ((raw > 0) & known).astype(np.uint8), known


def _depth(path: Path, declared: DepthDeclaration) -> tuple[Float32[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Depth = raw * scale + offset, in the unit of the data set; and where it is known."""
    raw = _grey(path)
    valid = ~np.isin(raw, declared.unknown)
    if not valid.any():
        raise DataError(
            f"{path}: has no pixel of known depth (raw values {raw.min()} to {raw.max()}, unknown: "
            f"{list(declared.unknown)}); mend `depth.unknown` in dataset.yaml or take the sample out."
        )
    depth = (raw * np.float64(declared.scale) + declared.offset).astype(np.float32)
    low, high = declared.range
    slack = 1e-6 * high  # float32 rounds
    outside = valid & ((depth < low - slack) | (depth > high + slack))
    if outside.any():
        raise DataError(
            f"{path}: {np.count_nonzero(outside)} of {np.count_nonzero(valid)} known pixels lie outside the declared "
            f"range [{low:g}, {high:g}] (least {depth[valid].min():g}, greatest {depth[valid].max():g}); mend "
            "`depth.range`, `scale`, `offset` or `unknown` in dataset.yaml."
        )
    return depth, valid
