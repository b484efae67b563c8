"""The uncertainty of an evaluation as a table, and what its numbers come to in plain sentences."""

from collections.abc import Iterator, Mapping

import numpy as np

from dmx.metrics.uncertainty import LEVELS, Uncertainty
from dmx.sample_table import SampleTable

ALIKE = 1.1
"""Errors and standard deviations that are apart by less than this factor are of one size."""
HELD = 0.02
"""Intervals that miss their probability by less than this on average hold what they promise."""
MEANINGS = {
    "depth/ause_per_image": "area under the sparsification error of depth; 0 is best",
    "depth/aurg_per_image": "area under the random gain of depth; 0 is chance, more is better",
    "mask/ause_per_image": "the same of the mask",
    "mask/aurg_per_image": "the same of the mask",
    "depth/error_to_spread_pooled": "depth error over standard deviation; 1 where they are alike",
    "depth/spread_calibration_error_pooled": "how far intervals of a normal distribution miss their probability",
}
"""What the numbers about the uncertainty say, in their order."""


def uncertainty_table(found: Uncertainty) -> list[tuple[str, float | None, str]]:
    """Rows of name, value and meaning."""
    values = found.values()
    return [(name, values[name], meaning) for name, meaning in MEANINGS.items()]


def rated(found: Uncertainty, samples: SampleTable) -> list[str]:
    """A sentence for each quantity that has a value: what its number says of the standard deviations.

    Args:
        found: The quantities.
        samples: The samples, over whose groups it is judged what is more than chance.
    """
    groups = dict(zip(samples.ids, samples.groups, strict=True))
    return [*(one for task in ("depth", "mask") for one in order(found, task, groups)), *size(found)]


def order(found: Uncertainty, task: str, groups: Mapping[str, str]) -> Iterator[str]:
    """Whether the standard deviations of a task tell great errors from small ones."""
    values = found.values()
    left, gain = values[f"{task}/ause_per_image"], values[f"{task}/aurg_per_image"]
    if left is None or gain is None:
        return
    best = gain + left  # of ordering pixels by the error itself
    share = "no order gains anything"
    if best > 0:
        share = f"it gains {100 * gain / best:.0f} % of what the best order would"
    interval = found.gain_interval(task, groups)
    if interval is None:
        said = f"whether the uncertainty orders errors better than chance takes two groups; here {share}"
    elif interval[0] > 0:
        said = f"the uncertainty orders errors better than chance; {share}"
    elif interval[1] < 0:
        said = "the uncertainty orders errors worse than chance; where it is great, errors are rather small"
    else:
        said = f"that the uncertainty orders errors better than chance is not shown; here {share}"
    yield f"{task.capitalize()}: {said}."


def size(found: Uncertainty) -> Iterator[str]:
    """Whether the standard deviations of depth have the size of its errors."""
    values = found.values()
    factor, missed = values["depth/error_to_spread_pooled"], values["depth/spread_calibration_error_pooled"]
    if factor is not None and factor > ALIKE:
        yield f"Depth: the standard deviations are too small, by a factor of {factor:.3g}."
    elif factor is not None and factor < 1 / ALIKE:
        by = f"by a factor of {1 / factor:.3g}" if factor > 0 else "for there is no error"
        yield f"Depth: the standard deviations are too large, {by}."
    elif factor is not None:
        yield f"Depth: the standard deviations have the size of the errors (a factor of {factor:.3g})."
    if missed is None:
        return
    held = f"95 % intervals hold {100 * found.coverage[-1]:.0f} % of the depths"
    if missed < HELD:
        yield f"Depth: the intervals hold what they promise; {held}."
        return
    wrong = "too narrow" if float(np.mean(found.coverage - LEVELS)) < 0 else "too wide"
    yield f"Depth: the intervals are {wrong}; {held}, and they miss their probability by {missed:.2f} on average."
