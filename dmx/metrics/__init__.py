"""The metrics of mask and depth; importing this package registers them."""

from dmx.metrics import (
    abs_rel,
    boundary_iou,
    brier,
    checkerboard,
    delta,
    dice,
    e_measure,
    iou,
    log10,
    mae,
    rmse,
    rmse_log,
    s_measure,
    silog,
    skill,
    sq_rel,
    weighted_f,
)
from dmx.metrics.evaluator import Evaluator, definitions, higher_is_better, names
from dmx.metrics.pixels import NO_REFERENCE, ReferenceMaps
from dmx.metrics.probabilities import Probabilities

__all__ = [
    "NO_REFERENCE",
    "Evaluator",
    "Probabilities",
    "ReferenceMaps",
    "abs_rel",
    "boundary_iou",
    "brier",
    "checkerboard",
    "definitions",
    "delta",
    "dice",
    "e_measure",
    "higher_is_better",
    "iou",
    "log10",
    "mae",
    "names",
    "rmse",
    "rmse_log",
    "s_measure",
    "silog",
    "skill",
    "sq_rel",
    "weighted_f",
]
