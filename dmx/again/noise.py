"""How far two trainings of one configuration may be apart, and still be the same but for chance.

Chance is what other seeds change. Of n complete runs that differ in their seeds alone, with mean m and standard
deviation s of the objective, another one is with 95 % within

    m ± t_{0.975, n-1} s √(1 + 1/n)

(the prediction interval of a normal distribution). A second training whose objective lies inside is within noise. It
needs three seeds at least. In place of it a user may state a tolerance, a share of the objective's first value.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

from scipy.special import stdtrit

from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.results.records import read_result
from dmx.tracking.home import RESULT, Home

FEWEST = 3
"""Seeds of which a spread is told."""
OWN = ("name", "seed")
"""Keys of a configuration in which its seeds differ."""
MEASURED = ("objective", "data", "split", "size", "definitions")


@dataclass(frozen=True)
class Noise:
    """The interval in which the objective's value is within noise.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        rule: What it follows from, in words.
    """

    low: float
    high: float
    rule: str


def noise(home: Home, run: str, value: float, tolerance: float | None) -> Noise | str:
    """The interval of a run's objective; or why there is none.

    Args:
        home: The results folder, which may have other seeds of the run.
        run: The run.
        value: The objective's value of its best epoch.
        tolerance: The stated tolerance, if any.
    """
    if tolerance is not None:
        room = tolerance * abs(value)
        return Noise(value - room, value + room, f"the stated tolerance of {tolerance:g} of the first value")
    values = values_of_seeds(home, run)
    if len(values) < FEWEST:
        return (
            f"no noise is known: {home.root} has {len(values)} complete run{'' if len(values) == 1 else 's'} of this "
            f"configuration, and it takes {FEWEST} seeds; or state what is close enough by --tolerance"
        )
    low, high = predicted(values)
    return Noise(low, high, f"where with 95 % another seed would be, by the {len(values)} that there are")


def predicted(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % prediction interval for one more value.

    >>> [round(end, 4) for end in predicted([1.0, 1.1, 1.2])]
    [0.6032, 1.5968]
    """
    n = len(values)
    half = float(stdtrit(n - 1, 0.975)) * stdev(values) * sqrt(1 + 1 / n)
    return mean(values) - half, mean(values) + half


def values_of_seeds(home: Home, run: str) -> list[float]:
    """The objective's values of all complete runs with this run's configuration and data, one for each seed."""
    found: dict[object, float] = {}
    wanted = None
    for name in [run, *home.runs_with(RESULT)]:
        try:
            stored = read_result(home.run(name))
        except UserError:  # damaged, which is no matter of this run
            continue
        if stored is None or stored[0].outcome is not Outcome.COMPLETE or stored[0].best is None:
            continue
        params = {key: value for key, value in stored[1]["params"].items() if key not in OWN}
        facts = json.dumps([params, [stored[1].get(key) for key in MEASURED]], sort_keys=True)
        wanted = wanted or facts
        if facts == wanted:
            found.setdefault(stored[1]["params"].get("seed"), stored[0].best.value)
    return [*found.values()]
