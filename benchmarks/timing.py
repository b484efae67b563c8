"""What the benchmarks share: variants in turn, medians of rounds, one small table."""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dmx.training.progress import Silent

WARM_UP_STEPS = 2  # the first step of a process picks kernels and takes memory, the first of a compiled model compiles


class StepClock(Silent):
    """Sums up the wall time from one training step's end to the next one's, within epochs.

    It is told of steps by dmx as any observer of a run, and by a bare loop likewise. Neither the first steps count nor
    whatever lies between two epochs: validation, checkpoint, the making of a loader.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.samples = 0
        self.begun = self.last = time.perf_counter()
        self.first_step = 0.0
        self._steps = 0
        self._within = False

    def start(self, done: int, total: int) -> None:
        """Training begins."""
        self.begun = time.perf_counter()

    def step(self, samples: int, loss: float | None) -> None:
        """A step ended."""
        now = time.perf_counter()
        if self._steps == 0:
            self.first_step = now - self.begun
        if self._within and self._steps >= WARM_UP_STEPS:
            self.seconds += now - self.last
            self.samples += samples
        self._steps += 1
        self._within = True
        self.last = now

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """An epoch and its validation ended."""
        self._within = False

    @property
    def rate(self) -> float:
        """Samples per second."""
        return self.samples / self.seconds


@dataclass(frozen=True)
class Row:
    """A variant's rate over all rounds, and its ratio to the reference of the same round."""

    variant: str
    rates: Sequence[float]
    ratios: Sequence[float]

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios)


def in_turn(variants: Mapping[str, Callable[[], float]], rounds: int, say: Callable[[str], None]) -> list[Row]:
    """Run all variants one after the other, `rounds` times: A B C A B C.

    The machine may be shared: what disturbs a round disturbs all of its variants, so ratios are taken within it.

    Args:
        variants: What runs once and gives its rate; the first is the reference.
        rounds: How often.
        say: Told of each rate.
    """
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(1, rounds + 1):
        for name, run in variants.items():
            rates[name].append(run())
            say(f"round {number}/{rounds}: {name}: {rates[name][-1]:.1f} samples/s")
    reference = rates[next(iter(variants))]
    return [
        Row(name, own, [rate / base for rate, base in zip(own, reference, strict=True)]) for name, own in rates.items()
    ]


def table(rows: Sequence[Row]) -> str:
    """Medians of the rounds with their least and greatest."""
    width = max(len(row.variant) for row in rows)
    lines = [f"{'':{width}}  samples/s (least .. greatest)   ratio (least .. greatest)"]
    for row in rows:
        rate = f"{statistics.median(row.rates):7.1f}  ({min(row.rates):.1f} .. {max(row.rates):.1f})"
        ratio = f"{row.ratio:.3f}  ({min(row.ratios):.3f} .. {max(row.ratios):.3f})"
        lines.append(f"{row.variant:{width}}  {rate:30}  {ratio}")
    return "\n".join(lines)


def as_json(rows: Sequence[Row], **more: object) -> str:
    """The same for machines, every round."""
    found = {row.variant: {"samples_per_second": row.rates, "ratios": row.ratios, "ratio": row.ratio} for row in rows}
    return json.dumps({"variants": found, **more}, indent=1)
