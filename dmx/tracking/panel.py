"""The picture of a validation: inputs, targets and predictions side by side."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from dmx.quartet import Batch, DepthSpec, Prediction

Rgb = UInt8[np.ndarray, "H W 3"]
AnySize = UInt8[np.ndarray, "_ _ 3"]
Built = UInt8[np.ndarray, "height width 3"]
Plane = Float[np.ndarray, "H W"]
Where = Bool[np.ndarray, "H W"]

TITLES = ("image", "true mask", "predicted mask", "true depth", "predicted depth", "error, red at 25%")
UNKNOWN = 128  # grey, which neither the colour map nor masks use
SIDE = 128  # minimum side of a cell, so that the titles fit
GAP = 4
HEADER = 20
BAR, SCALE, TALL = 12, 80, 240
"""The width of a scale's bar and of the whole scale, enlarged by an integer for each `TALL` pixels of height."""
ERROR_SHARE = 0.25
"""The error at the end of the colour scale, as a share of the row's range of true depth."""


def panel(batch: Batch, prediction: Prediction, spec: DepthSpec, rows: int = 4) -> Built:
    """Image, true mask, predicted mask, true depth, predicted depth and absolute error of the first samples.

    Near is red, far is blue; truth and prediction of a row share the scale from the row's least to its greatest true
    depth. Grey is unknown. The predicted mask is where the logit is above 0. Errors range from blue (none) to red (a
    quarter of the row's depth range, or more).

    Args:
        batch: Samples.
        prediction: The network's prediction for them.
        spec: The kind, range and direction of their depth.
        rows: The maximum number of samples to show.

    Returns:
        An RGB picture; small samples are enlarged to at least 128 pixels a side.
    """
    shown = range(min(rows, len(batch)))
    grid = stack([stack(row(batch, prediction, spec, index), axis=1) for index in shown], axis=0)
    return np.concatenate([header(grid.shape[1]), grid], axis=0)


def png(picture: Built) -> bytes:
    """An RGB picture as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def row(batch: Batch, prediction: Prediction, spec: DepthSpec, index: int) -> list[Built]:
    """The six cells of one sample."""
    image = batch.image[index].detach().float().cpu().permute(1, 2, 0).numpy()
    true_mask = batch.mask[index, 0].cpu().numpy() > 0.5
    logits = prediction.mask_logits[index, 0].detach().cpu().numpy()
    truth = batch.depth[index, 0].float().cpu().numpy()
    depth = prediction.depth[index, 0].detach().float().cpu().numpy()
    valid = batch.valid[index, 0].cpu().numpy()
    low, high = true_range(truth, valid, spec)
    span = max(high - low, 1e-6)
    everywhere = np.isfinite(depth)
    cells = [
        (np.clip(image, 0, 1) * 255).round().astype(np.uint8),
        mask_picture(true_mask, batch.mask_valid[index, 0].cpu().numpy()),
        mask_picture(logits > 0, ~np.isnan(logits)),
        colours(nearness(truth, low, span, spec), valid),
        colours(nearness(depth, low, span, spec), everywhere),
        colours(np.abs(depth - truth) / (ERROR_SHARE * span), valid & everywhere),
    ]
    return [enlarged(cell) for cell in cells]


def true_range(truth: Plane, valid: Where, spec: DepthSpec) -> tuple[float, float]:
    """The least and greatest known depth, which are the ends of a row's colours; without any those of the data set."""
    known = truth[valid] if valid.any() else np.array([spec.low, spec.high])
    return float(known.min()), float(known.max())


def enlargement(height: int) -> int:
    """By which integer the scale of a picture is enlarged, so that it can be read beside it."""
    return max(1, height // TALL)


def scale(height: int, low: float, high: float, spec: DepthSpec) -> Built:
    """The colours of depth from the greatest value, at the top, to the least, with both as text."""
    times = enlargement(height)
    strip = np.full((height, SCALE * times, 3), 255, np.uint8)
    values = np.linspace(high, low, height)[:, None].repeat(BAR * times, axis=1)
    near = nearness(values, low, max(high - low, 1e-6), spec)
    strip[:, : BAR * times] = colours(near, np.ones_like(near, dtype=bool))
    unit = " m" if spec.kind == "metric" else ""
    for value, base in ((high, 11 * times), (low, height - 3 * times)):
        place, size = ((BAR + 4) * times, base), 0.4 * times
        cv2.putText(strip, f"{value:.3g}{unit}", place, cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), times, cv2.LINE_AA)
    return strip


def nearness(depth: Plane, low: float, span: float, spec: DepthSpec) -> Plane:
    """Depth from 0 (far) to 1 (near)."""
    share = (depth - low) / span
    return 1 - share if spec.near == "low" else share


def colours(values: Plane, known: Where) -> Rgb:
    """Values from 0 (blue) to 1 (red); grey where they are not known."""
    levels = (np.clip(np.where(known, values, 0), 0, 1) * 255).round().astype(np.uint8)
    picture = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    picture[~known] = UNKNOWN
    return picture.astype(np.uint8, copy=False)


def mask_picture(mask: Where, known: Where) -> Rgb:
    """White on the object, black elsewhere, grey where the mask is unknown."""
    plane = np.where(known, np.where(mask, 255, 0), UNKNOWN).astype(np.uint8)
    return np.repeat(plane[..., None], 3, axis=2)


def enlarged(cell: Rgb) -> Built:
    """Upscale the cell by an integer factor until its sides are long enough."""
    times = -(-SIDE // min(cell.shape[:2]))
    return cell.repeat(times, axis=0).repeat(times, axis=1)


def stack(pictures: list[AnySize], axis: int) -> Built:
    """The pictures side by side (axis 1) or one below the other (axis 0), with white gaps between."""
    shape = list(pictures[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=axis)


def header(width: int, beside: int = 0) -> Built:
    """The titles of the columns, black on white; the last `beside` pixels are of what has no title."""
    line = np.full((HEADER, width, 3), 255, np.uint8)
    pitch = (width - beside + GAP) // len(TITLES)
    for index, title in enumerate(TITLES):
        corner = (index * pitch + 2, HEADER - 6)
        cv2.putText(line, title, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return line
