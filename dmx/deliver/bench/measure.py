"""Measure variants in turn, each in a process of its own, and what they come to."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import psutil

from dmx.deliver.bench.process import FailedError, Timing, Worker
from dmx.deliver.bench.variants import Size, Variant

Progress = Callable[[int, int], None]
SECONDS = 1.0
"""Of one round of one variant and batch."""
LEAST = 2
"""Calls of a round, however long they take; and those before the first, in which kernels are chosen or compiled."""


@dataclass(frozen=True)
class Settings:
    """How it is measured.

    Attributes:
        batches: Sizes of the batch.
        rounds: How often each variant has its turn.
        threads: Threads of a prediction.
    """

    batches: tuple[int, ...]
    rounds: int
    threads: int


@dataclass(frozen=True)
class Row:
    """What a variant came to with one size of batch.

    Attributes:
        network: The run or file.
        form: What ran it.
        size: Height and width.
        batch: Pictures of a call.
        latency_ms: The median over all calls.
        latency_p95_ms: The 95th percentile over all calls.
        pictures_per_second: The median of the rounds.
        ratio: Of pictures per second to those of the first variant in the same round, the median of the rounds.
        ratio_least: The least of the rounds.
        ratio_greatest: The greatest of the rounds.
        cpu_ms: Processor time of a picture over all cores, the median of the rounds.
        memory_mb: The most memory that the process had, with its libraries.
        calls: How many calls were measured.
        threads: Threads of a prediction, as the process had them.
    """

    network: str
    form: str
    size: Size
    batch: int
    latency_ms: float
    latency_p95_ms: float
    pictures_per_second: float
    ratio: float
    ratio_least: float
    ratio_greatest: float
    cpu_ms: float
    memory_mb: float
    calls: int
    threads: int


@dataclass
class Measured:
    """The rows, and why variants have none.

    Attributes:
        rows: In the order of the variants.
        failures: A line for each variant that failed.
        others: Cores that other processes took meanwhile, on average.
    """

    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    others: float = 0.0


class Others:
    """How many cores other processes take, from when it is made."""

    def __init__(self, workers: Mapping[Variant, Worker]) -> None:
        self._workers = workers
        self.begun = time.perf_counter()
        self._before = self._seconds()

    def _seconds(self) -> float:
        """Processor time of the machine without that of this measurement."""
        return busy_seconds() - time.process_time() - sum(worker.cpu for worker in self._workers.values())

    @property
    def seconds(self) -> float:
        """Their processor time."""
        return max(self._seconds() - self._before, 0.0)


def busy_seconds() -> float:
    """Processor time that the machine has spent since it started, over all cores."""
    spent = psutil.cpu_times()
    idle = ("idle", "iowait", "guest", "guest_nice")  # a guest's time is the user's as well
    return float(sum(spent) - sum(getattr(spent, name, 0.0) for name in idle))


def measure(variants: Sequence[Variant], settings: Settings, progress: Progress) -> Measured:
    """Measure variants, those of one size in turn: A B C, A B C.

    What disturbs a round on a busy machine disturbs all of its variants, so ratios are taken within it.

    Args:
        variants: The variants; the first of a size is what the others of it are compared with.
        settings: How it is measured.
        progress: Called with the number of rounds done and the total, each variant's counted.
    """
    found = Measured()
    seconds = others = 0.0
    bar = Steps(progress, len(variants) * len(settings.batches) * (settings.rounds + 1))
    for size in dict.fromkeys(variant.size for variant in variants):
        with ExitStack() as stack:
            workers = started([one for one in variants if one.size == size], settings.threads, stack, found.failures)
            beside = Others(workers)
            for batch in sorted(settings.batches):  # the greatest last: memory that it took is not given back
                found.rows += rows(in_turn(workers, batch, settings.rounds, bar, found.failures), batch)
            others += beside.seconds
            seconds += time.perf_counter() - beside.begun
    found.others = others / seconds
    return found


class Steps:
    """Counts what is done.

    Args:
        progress: Called with the number of steps done and the total.
        total: The number of all steps.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total

    def next(self) -> None:
        """One more is done."""
        self._done += 1
        self._progress(min(self._done, self._total), self._total)


def started(variants: Sequence[Variant], threads: int, stack: ExitStack, failures: list[str]) -> dict[Variant, Worker]:
    """A process for each variant that has one; why the others have none goes to `failures`."""
    workers = {}
    for variant in variants:
        try:
            if variant.failure:
                raise FailedError(variant.failure)
            workers[variant] = stack.enter_context(Worker(variant.source, threads))
        except FailedError as error:
            failures.append(f"{variant.title}: {error}")
    return workers


def in_turn(
    workers: dict[Variant, Worker], batch: int, rounds: int, bar: Steps, failures: list[str]
) -> dict[Variant, list[Timing]]:
    """The rounds of each variant; one that fails is left out, of `workers` too."""
    timings: dict[Variant, list[Timing]] = {variant: [] for variant in workers}
    for number in range(rounds + 1):
        for variant, worker in [*workers.items()]:
            try:
                timing = worker.measure(batch, SECONDS if number else 0.0, LEAST)
            except FailedError as error:
                failures.append(f"{variant.title}, batches of {batch}: {error}")
                del workers[variant], timings[variant]
                continue
            if number:
                timings[variant].append(timing)
            bar.next()
    return timings


def rows(timings: Mapping[Variant, Sequence[Timing]], batch: int) -> list[Row]:
    """What the rounds come to; the first variant is what the others are compared with."""
    rates = {variant: [one.pictures(batch) / sum(one.seconds) for one in each] for variant, each in timings.items()}
    reference = next(iter(rates.values()), [])
    found = []
    for variant, each in timings.items():
        ratios = [rate / base for rate, base in zip(rates[variant], reference, strict=True)]
        calls = 1000 * np.concatenate([one.seconds for one in each])
        found.append(
            Row(
                network=variant.network,
                form=variant.form,
                size=variant.size,
                batch=batch,
                latency_ms=float(np.median(calls)),
                latency_p95_ms=float(np.percentile(calls, 95)),
                pictures_per_second=statistics.median(rates[variant]),
                ratio=statistics.median(ratios),
                ratio_least=min(ratios),
                ratio_greatest=max(ratios),
                cpu_ms=statistics.median(1000 * one.cpu / one.pictures(batch) for one in each),
                memory_mb=max(one.peak for one in each) / 1e6,
                calls=len(calls),
                threads=max(one.threads for one in each),
            )
        )
    return found
