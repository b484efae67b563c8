"""Metrics computed by other people's programs."""

import numpy as np
import py_sod_metrics as sod
from skimage.metrics import mean_squared_error
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    jaccard_score,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_log_error,
)


def share_within(factor: float):
    return lambda y, t: accuracy_score(np.ones(y.size), np.abs(np.log(y / t)) < np.log(factor))


MASK = {
    "iou": lambda z, g: jaccard_score(g, z > 0),
    "dice": lambda z, g: f1_score(g, z > 0),
    "mae": lambda z, g: mean_absolute_error(g, 1 / (1 + np.exp(-z))),
}
DEPTH = {
    "abs_rel": lambda y, t: mean_absolute_percentage_error(t, y),
    "sq_rel": lambda y, t: np.average((y - t) ** 2 / t),
    "rmse": lambda y, t: np.sqrt(mean_squared_error(t, y)),
    "rmse_log": lambda y, t: np.sqrt(mean_squared_log_error(t - 1, y - 1)),  # which takes ln(1 + x)
    "silog_lambda1": lambda y, t: np.std(np.log(y) - np.log(t)),
    "log10": lambda y, t: mean_absolute_error(np.log10(t), np.log10(y)),
    "delta1": share_within(1.25),
    "delta2": share_within(1.25**2),
    "delta3": share_within(1.25**3),
    "mae": lambda y, t: mean_absolute_error(t, y),
}
ORACLES = {
    "s_measure": (sod.Smeasure, lambda found: found["sm"]),
    "weighted_f": (sod.WeightedFmeasure, lambda found: found["wfm"]),
    "e_measure": (sod.Emeasure, lambda found: found["em"]["curve"].mean()),
}


def both(oracle, p, truth, valid):
    each = [oracle(p[i][valid[i]], truth[i][valid[i]]) for i in range(len(p)) if valid[i].any()]
    return oracle(p[valid], truth[valid]), np.mean(each)
