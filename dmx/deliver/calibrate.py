"""Scale and power of depth for another camera, from a few pictures with measured depth.

A network learns the focal length of its training pictures; with another lens all its depth is off by a factor, and
sometimes by more far away than near. Three forms are fitted to log depth and judged on groups that were held out:

    none     log d' = log d
    scale    log d' = log d + b
    power    log d' = a log d + b

The least squares are over all known pixels, with the same weight for each picture. A form is kept only where the 95 %
interval of what it changes, over groups, excludes no change; `power` only where it does so against `scale`, too.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from dmx.compare.difference import Difference
from dmx.errors import DataError, UserError
from dmx.experiment.evaluate import Part, check_fits, check_precision, predictions, select
from dmx.experiment.trained import Calibration, Trained, calibration_path
from dmx.stored import replace_text
from dmx.tracking.home import Home

LEAST_GROUPS = 4
"""Groups below which an interval over them says nothing."""
FOLDS = 10
"""Greatest number of parts of which each is held out once."""
FORMS = ("none", "scale", "power")
NEAR, FAR = 1e-3, 1e3
"""Metres beyond which predictions are cut before their logarithm is taken."""
DELTA = 1.25
"""delta1 is the share of pixels whose depth is off by less than this factor (Eigen et al. 2014)."""


@dataclass(frozen=True)
class Measured:
    """The known pixels of one picture: logarithms of predicted and true depth in metres."""

    group: str
    predicted: Float32[np.ndarray, "N"]
    true: Float32[np.ndarray, "N"]


@dataclass(frozen=True)
class Form:
    """A form with what it comes to.

    Attributes:
        name: none, scale or power.
        fitted: Fitted to all pictures.
        rmse: Of held-out groups, in metres: the mean over groups of the mean over their pictures.
        abs_rel: Likewise, of abs(d' - d) / d.
        delta1: Likewise.
        to_none: The difference in RMSE from no calibration; None for none.
        to_scale: The difference in RMSE from scale alone; None but for power.
    """

    name: str
    fitted: Calibration
    rmse: float
    abs_rel: float
    delta1: float
    to_none: Difference | None
    to_scale: Difference | None


def measure(
    network: Trained, root: Path, part: Part | None, home: Home, progress: Callable[[int, int], None]
) -> list[Measured]:
    """Predict the pictures of a data set.

    Raises:
        UserError: The network and the data do not fit, depth is not in metres, or there are too few groups.
    """
    chosen = select(root, part, home, network.run, network.config.data.split)
    check_fits(network, chosen.index)
    for who, kind in ((network.run, network.spec.kind), (chosen.index.name, chosen.index.depth.kind)):
        if kind != "metric":
            raise UserError(f"{who}: has relative depth, which has no scale; a calibration is of depth in metres.")
    count = len(set(chosen.groups.values()) & {chosen.groups[one] for one in chosen.ids})
    if count < LEAST_GROUPS:
        raise UserError(
            f"{chosen.index.root}: has pictures of {count} group{'' if count == 1 else 's'} (scenes), and calibration "
            f"needs {LEAST_GROUPS}, to judge on those that it was not fitted to; measure more places."
        )
    network, found = check_precision(network, chosen.index, chosen.ids), []
    for batch, prediction in predictions(network, chosen.index, chosen.ids, progress):
        for i, one in enumerate(batch.ids):
            known = batch.valid[i]
            if bool(known.any()):
                depths = (prediction.depth[i][known].clamp(NEAR, FAR), batch.depth[i][known])
                logs = (depth.float().log().cpu().numpy() for depth in depths)
                found.append(Measured(chosen.groups[one], *logs))
    if len({one.group for one in found}) < LEAST_GROUPS:
        raise DataError(f"{root}: fewer than {LEAST_GROUPS} of its groups have known depth; measure more places.")
    return found


def fit(form: str, pictures: Sequence[Measured]) -> Calibration:
    """Fit a form to pictures; `power` falls back to `scale` where depth hardly varies or the power is not above 0."""
    if form == "none":
        return Calibration(1.0, 1.0)
    p, t = (np.mean([np.mean(getattr(one, side)) for one in pictures]) for side in ("predicted", "true"))
    power = 1.0
    if form == "power":
        variance = np.mean([np.mean((one.predicted - p) ** 2) for one in pictures])
        covariance = np.mean([np.mean((one.predicted - p) * (one.true - t)) for one in pictures])
        if variance > 1e-6 and covariance > 0:
            power = float(covariance / variance)
    return Calibration(math.exp(t - power * p), power)


def errors(one: Measured, fitted: Calibration) -> Float64[np.ndarray, "3"]:
    """RMSE, AbsRel and delta1 of a picture after calibration."""
    apart = math.log(fitted.scale) + fitted.power * one.predicted.astype(np.float64) - one.true
    true = np.exp(one.true.astype(np.float64))
    off = np.exp(apart) * true - true
    return np.array([np.sqrt(np.mean(off**2)), np.mean(np.abs(off) / true), np.mean(np.abs(apart) < math.log(DELTA))])


def held_out(form: str, pictures: Sequence[Measured]) -> Float64[np.ndarray, "groups 3"]:
    """The mean errors of each group, in order of their names, with a calibration that has not seen it."""
    groups = sorted({one.group for one in pictures})
    fold = {group: number % FOLDS for number, group in enumerate(groups)}
    found: dict[str, list[Float64[np.ndarray, "3"]]] = {group: [] for group in groups}
    for number in range(min(FOLDS, len(groups))):
        fitted = fit(form, [one for one in pictures if fold[one.group] != number])
        for one in pictures:
            if fold[one.group] == number:
                found[one.group].append(errors(one, fitted))
    return np.array([np.mean(found[group], axis=0) for group in groups])


def difference(first: Float64[np.ndarray, "groups"], second: Float64[np.ndarray, "groups"]) -> Difference:
    """The difference of two forms' RMSE over the same groups, paired."""
    apart = second - first
    error = float(np.std(apart, ddof=1) / math.sqrt(len(apart)))
    means = float(first.mean()), float(second.mean())
    return Difference("depth/rmse", *means, error, len(apart) - 1, higher_is_better=False, networks=True)


def compare(pictures: Sequence[Measured]) -> list[Form]:
    """Each form with its errors on held-out groups."""
    found = {form: held_out(form, pictures) for form in FORMS}
    rmse = {form: values[:, 0] for form, values in found.items()}

    def one(form: str) -> Form:
        to_none = None if form == "none" else difference(rmse["none"], rmse[form])
        to_scale = difference(rmse["scale"], rmse["power"]) if form == "power" else None
        mean, abs_rel, delta1 = found[form].mean(axis=0).tolist()
        return Form(form, fit(form, pictures), mean, abs_rel, delta1, to_none, to_scale)

    return [one(form) for form in FORMS]


def choose(forms: Sequence[Form]) -> Form:
    """The form to keep; see the module."""
    none, scale, power = forms

    def better(one: Difference | None) -> bool:
        return one is not None and one.clear and one.value < 0

    if better(power.to_none) and (better(power.to_scale) or not better(scale.to_none)):
        return power
    return scale if better(scale.to_none) else none


def keep(home: Home, run: str, name: str, form: Form, facts: Mapping[str, str | int]) -> Path:
    """Write a calibration to the run's folder, under a name."""
    path = calibration_path(home, run, name)
    measured = {key: value for key, value in asdict(form).items() if isinstance(value, float)}
    replace_text(path, json.dumps({**asdict(form.fitted), "form": form.name, "held_out": measured, **facts}, indent=1))
    return path
