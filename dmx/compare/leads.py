"""The difference of each run of a leaderboard from the first, with its statistical significance."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from dmx.compare.difference import Difference, corrected, difference, explained
from dmx.errors import UserError
from dmx.results.ranking import Entry
from dmx.sample_table import SampleTable, base
from dmx.tracking.home import BEST_SAMPLES, Home

CHOSEN = "The first was chosen as the best of many, so it is lucky, too: trained anew it will on average do worse."
"""What is true of the best of any search."""


@dataclass(frozen=True)
class Leads:
    """Differences from the first run.

    Attributes:
        by_run: The difference of each run; runs without samples to compare are left out.
        message: What the intervals and verdicts mean.
    """

    by_run: dict[str, Difference]
    message: str


def leads(home: Home, entries: Sequence[Entry]) -> Leads:
    """Compare the runs with the first of them by their objective, corrected for multiple comparisons."""
    if not entries:
        return Leads({}, "")
    metric = entries[0].record["objective"]["metric"].removeprefix("val/")

    def load(entry: Entry) -> SampleTable:
        return SampleTable.load(home.run(entry.run) / BEST_SAMPLES, only=[base(metric)])

    found: dict[str, Difference] = {}
    with suppress(FileNotFoundError, KeyError, UserError):  # the first run has no samples, or old ones
        first = load(entries[0])
        for entry in entries[1:]:
            with suppress(FileNotFoundError, ValueError, KeyError, UserError):  # no samples, or different ones
                if (one := difference([first], [load(entry)], metric)) is not None:
                    found[entry.run] = one
    if not found:
        return Leads({}, "")
    made = [one for one in corrected([*found.values()]) if one is not None]
    message = f"{explained(made, len(set(first.groups)), len(first.ids), seeds=1)} {CHOSEN}"
    return Leads(dict(zip(found, made, strict=True)), message)
