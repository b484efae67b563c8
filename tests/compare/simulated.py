"""Candidates whose true difference is known: sums of groups as networks with seeds would leave them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dmx.compare.difference import Seeds, left_out
from dmx.sample_table import FINISHES


@dataclass(frozen=True)
class Regime:
    """Where the spread of values comes from; deviations, in units of what is measured.

    Attributes:
        seeds: Of one seed from another, of the first and of the second candidate.
        groups: Of what a candidate makes of a group, whatever its seed, beside how hard the group is for both.
        own: Of what one seed makes of a group by itself.
        samples: Of one sample from another of its group.
        sizes: The fewest and the most samples of a group.
    """

    seeds: tuple[float, float] = (0.0, 0.0)
    groups: float = 0.0
    own: float = 0.0
    samples: float = 0.0
    sizes: tuple[int, int] = (1, 10)


def drawn(
    regime: Regime, counts: tuple[int, int], groups: int, metric: str, repeats: int, rng: np.random.Generator
) -> Iterator[Seeds]:
    """Two candidates of so many seeds, without any difference but chance, `repeats` times.

    Args:
        regime: Where the spread comes from.
        counts: The seeds of both.
        groups: How many.
        metric: `mean` of samples; `iou`, a pooled share of areas; `rmse`, the root of a pooled mean.
        repeats: How often.
        rng: Draws.
    """
    sizes = rng.integers(regime.sizes[0], regime.sizes[1] + 1, (repeats, 1, groups)).astype(float)
    hard = rng.normal(0, 1, (repeats, 1, groups))
    for count, spread in zip(counts, regime.seeds, strict=True):
        x = hard + rng.normal(0, spread, (repeats, count, 1)) + rng.normal(0, regime.groups, (repeats, 1, groups))
        x = x + rng.normal(0, regime.own, (repeats, count, groups))
        x += rng.normal(0, 1, x.shape) * regime.samples / np.sqrt(sizes)
        if metric == "mean":
            above, below = (5 + x) * sizes, np.broadcast_to(sizes, x.shape)
        elif metric == "iou":
            iou = 1 / (1 + np.exp(-1 - 0.5 * x))
            below = sizes * np.exp(0.3 * hard) * (1.3 - 0.3 * iou)  # a union is the greater, the worse the mask
            above = iou * below
        else:
            above, below = np.exp(0.3 * x) * sizes, np.broadcast_to(sizes, x.shape)
        yield left_out(np.stack([above, below], axis=-1), FINISHES["root" if metric == "rmse" else "ratio"])
