"""The metrics of mask and depth; importing this package registers them."""

from dmx.metrics import abs_rel, checkerboard, delta, dice, iou, log10, mae, rmse, rmse_log, silog, sq_rel
from dmx.metrics.evaluator import Evaluator, definitions, higher_is_better, names

__all__ = [
    "Evaluator",
    "abs_rel",
    "checkerboard",
    "definitions",
    "delta",
    "dice",
    "higher_is_better",
    "iou",
    "log10",
    "mae",
    "names",
    "rmse",
    "rmse_log",
    "silog",
    "sq_rel",
]
