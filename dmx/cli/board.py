"""Progress of a sweep's workers: a live table in a terminal, otherwise lines."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from dmx.cli.console import number
from dmx.config import Objective
from dmx.config.components import COMPONENT_PATHS
from dmx.outcome import Outcome
from dmx.training.result import RunResult

if TYPE_CHECKING:
    from dmx.sweep.study import StudyStatus


@dataclass
class Row:
    """The state of one worker; a `dmx.sweep.events.SweepObserver`."""

    board: "Board"
    number: int
    title: str = "starting"
    values: str = ""
    epoch_of: str = ""
    value: float | None = None
    done: int = 0
    steps: int = 0

    def trial_claimed(self, number: int) -> None:
        """See `SweepObserver`."""
        self.title = f"trial {number}"
        self.values, self.epoch_of, self.value, self.done, self.steps = "proposing", "", None, 0, 0

    def trial_started(self, number: int, trials: int, values: Mapping[str, Any]) -> None:
        """See `SweepObserver`."""
        self.values = ", ".join(str(values[path]) for path in COMPONENT_PATHS if path in values) or "as it stands"
        self.board.line(f"trial {number} (of {trials}): {self.values}")

    def loading(self, done: int, total: int) -> None:
        """See `SweepObserver`."""
        self.epoch_of = "" if done == total else f"reading pictures {100 * done // max(total, 1)} %"

    def start(self, done: int, total: int) -> None:
        """See `SweepObserver`."""
        self.done, self.steps = done, total
        if done:
            self.board.line(f"{self.title}: going on at step {done} of {total}")

    def step(self, samples: int, loss: float | None) -> None:
        """See `SweepObserver`."""
        self.done += 1

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """See `SweepObserver`."""
        self.value = values[self.board.objective.metric]
        self.epoch_of = f"{epoch}/{epochs}"
        self.board.line(f"{self.title}: epoch {epoch}/{epochs}, {self.board.objective.metric} {number(self.value)}")

    def trial_paused(self, number: int, result: RunResult) -> None:
        """See `SweepObserver`."""
        self.board.trial_paused(number, result)
        self._wait()

    def trial_finished(self, number: int, result: RunResult) -> None:
        """See `SweepObserver`."""
        self.board.trial_finished(number, result)
        self._wait()

    def _wait(self) -> None:
        self.title, self.values, self.epoch_of, self.value, self.done, self.steps = "waiting", "", "", None, 0, 0


@dataclass
class Board:
    """All workers of a sweep, and the status of the study.

    Attributes:
        objective: The objective of the study.
        trials: Total number of trials.
        epochs: Number of epochs of a trial that is not pruned.
    """

    objective: Objective
    trials: int
    epochs: int
    finished: int = 0
    rows: list[Row] = field(default_factory=list)
    best: tuple[float, int] | None = None
    saved: int = 0
    ran: int = 0
    paused: set[int] = field(default_factory=set)
    counts: dict[Outcome, int] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def __enter__(self) -> "Board":
        self.console = Console(highlight=False, soft_wrap=True)
        self.live = Live(get_renderable=self.table, console=self.console, refresh_per_second=4, transient=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.stop()

    def begin(self, status: "StudyStatus") -> None:
        """Begin with the status of the study."""
        self.finished, self.paused, self.best = sum(status.outcomes.values()), {*status.paused}, status.best
        self.counts = {Outcome(name): number for name, number in status.outcomes.items()}

    def row(self, number: int) -> Row:
        """Return the row of a worker; the table appears with the first one."""
        self.rows.append(Row(self, number))
        if self.console.is_terminal:
            self.live.start()
        return self.rows[-1]

    def trial_paused(self, trial: int, result: RunResult) -> None:
        """Count a trial that the pruner has paused."""
        self.paused.add(trial)
        self.line(f"trial {trial} {result.reason}", always=True)

    def trial_finished(self, trial: int, result: RunResult) -> None:
        """Count a finished trial."""
        self.paused.discard(trial)
        self.finished, self.ran = self.finished + 1, self.ran + 1
        self.counts[result.outcome] = self.counts.get(result.outcome, 0) + 1
        self.saved += self.epochs - result.epochs if result.outcome is Outcome.PRUNED else 0
        value = result.best.value if result.best and result.outcome is Outcome.COMPLETE else None
        if value is not None and (self.best is None or self.objective.better(value, than=self.best[0])):
            self.best = (value, trial)
        reason = f": {result.reason}" if result.reason else ""
        at = f" at {number(result.best.value)}" if result.best else ""
        self.line(f"trial {trial} {result.outcome}{at} in {result.seconds:.0f} s{reason}", always=True)

    def line(self, text: str, always: bool = False) -> None:
        """Print a permanent line; in a terminal only if the table will not show its contents."""
        if always or not self.console.is_terminal:
            self.console.print(text, markup=False)

    def table(self) -> Table:
        """One row for each worker, and the status of the study."""
        table = Table(box=None, pad_edge=False, caption=self.status(), caption_justify="left")
        for column in ("worker", "trial", "step", "epoch", self.objective.metric.removeprefix("val/"), ""):
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        for row in self.rows:
            step = f"{row.done}/{row.steps}" if row.steps else ""
            table.add_row(str(row.number), row.title, step, row.epoch_of, number(row.value), row.values)
        return table

    def status(self) -> str:
        """Format counts of trials by outcome, the best value, savings by pruning, and the remaining time."""
        parts = [f"{self.finished} of {self.trials} trials", *(f"{n} {outcome}" for outcome, n in self.counts.items())]
        if self.paused:
            parts.append(f"{len(self.paused)} paused")
        if self.best is not None:
            parts.append(f"best {number(self.best[0])} (trial {self.best[1]})")
        if self.saved:
            parts.append(f"{self.saved} epochs saved by pruning")
        if self.ran:
            left = (self.trials - self.finished) * (time.monotonic() - self.begun) / self.ran
            parts.append(f"about {max(1, round(left / 60))} min left" if left > 90 else f"about {left:.0f} s left")
        return ", ".join(parts)
