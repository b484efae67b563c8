"""The confidence interval of one network's metric, over the groups of the samples that it was measured on."""

import numpy as np

from dmx.compare.difference import LEVEL, over_groups, per_seed, quantile
from dmx.sample_table import SampleTable


def interval(samples: SampleTable, metric: str) -> tuple[float, float] | None:
    """The 95 % interval of a metric: what other groups of such samples could have given.

    It is that of `dmx.compare.difference` with nothing to differ from: the jackknife over groups, by Student's t. The
    metric is given by its full name, such as `depth/rmse_pooled`.

    Returns:
        Its ends; None if the metric is undefined, or is defined in one group alone, from which nothing follows.
    """
    found = per_seed([samples], metric)
    variance, freedom = over_groups(found.change[0], found.share[0])
    half = quantile(float(freedom), LEVEL) * float(variance) ** 0.5
    value = float(found.whole[0])
    return (value - half, value + half) if np.isfinite(half) and np.isfinite(value) else None
