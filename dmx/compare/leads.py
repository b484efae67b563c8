"""How the runs of a leaderboard stand to the first one, and whether that is more than chance."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from dmx.compare.difference import Difference, corrected, difference, explained
from dmx.errors import UserError
from dmx.results.ranking import Entry
from dmx.sums import BEST_SAMPLES, Samples, base
from dmx.tracking.home import Home

CHOSEN = "The first was chosen as the best of many, so it is lucky, too: trained anew it will on average do worse."
"""What holds of every best one."""


@dataclass(frozen=True)
class Leads:
    """Differences from the first run.

    Attributes:
        by_run: That of each run; those of which nobody knows are left out.
        told: What they say and what they do not.
    """

    by_run: dict[str, Difference]
    told: str


def leads(home: Home, entries: Sequence[Entry]) -> Leads:
    """The runs against the first of them, by their objective, corrected for how many they are."""
    if not entries:
        return Leads({}, "")
    metric = entries[0].record["objective"]["metric"].removeprefix("val/")

    def load(entry: Entry) -> Samples:
        return Samples.load(home.run(entry.run) / BEST_SAMPLES, only=[base(metric)])

    found: dict[str, Difference] = {}
    with suppress(FileNotFoundError, KeyError, UserError):  # of the first: no samples, or of another version
        first = load(entries[0])
        for entry in entries[1:]:
            with suppress(FileNotFoundError, ValueError, KeyError, UserError):  # no samples, or others
                if (one := difference([first], [load(entry)], metric)) is not None:
                    found[entry.run] = one
    if not found:
        return Leads({}, "")
    made = [one for one in corrected([*found.values()]) if one is not None]
    told = f"{explained(made, len(set(first.groups)), len(first.ids), seeds=1)} {CHOSEN}"
    return Leads(dict(zip(found, made, strict=True)), told)
