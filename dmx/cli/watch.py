"""Progress of a run or a sweep: a bar in a terminal, otherwise lines."""

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from dmx.config import Objective
from dmx.config.components import COMPONENT_PATHS
from dmx.training.result import RunResult

LINE_SECONDS = 5.0
"""Least seconds between two lines of progress without a terminal."""


class Watch:
    """Draws a bar in a terminal; elsewhere prints a line after each epoch and every few seconds."""

    def __init__(self, objective: Objective, *, quiet: bool = False) -> None:
        self.console = Console(highlight=False, soft_wrap=True, quiet=quiet)
        self.objective = objective
        self.title = ""
        self.bar: Progress | None = None
        self.samples = 0
        self.loss: float | None = None
        self.begun = self.written = time.monotonic()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *exception: object) -> None:
        self._end_bar()

    def loading(self, done: int, total: int) -> None:
        """See `dmx.training.progress.Progress`."""
        if self.bar is None:
            self._begin_bar("reading pictures", total)
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=done, total=total)
        self._line(f"  reading pictures: {done} of {total}")
        if done == total:
            self._end_bar()

    def start(self, done: int, total: int) -> None:
        """See `dmx.training.progress.Progress`."""
        self._end_bar()
        self.samples, self.loss = 0, None
        self.begun = self.written = time.monotonic()
        if done:
            self.console.print(f"  going on at step {done} of {total}")
        self._begin_bar(self.title or "training", total, done)

    def step(self, samples: int, loss: float | None) -> None:
        """See `dmx.training.progress.Progress`."""
        self.samples += samples
        self.loss = self.loss if loss is None else loss
        rate = self.samples / max(time.monotonic() - self.begun, 1e-9)
        speed = f"{rate:,.0f} samples/s" + ("" if self.loss is None else f", loss {self.loss:.4g}")
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], advance=1, speed=speed)
        self._line(f"  {self.title or 'training'}: {speed}")

    def epoch(self, epoch: int, epochs: int, values: Mapping[str, float | None]) -> None:
        """See `dmx.training.progress.Progress`."""
        value = values[self.objective.metric]
        shown = "undefined" if value is None else f"{value:.4g}"
        others = [
            f"{name.removeprefix('val/')} {values[name]:.4g}"
            for name in ("val/mask/iou_pooled", "val/depth/rmse_pooled")
            if name != self.objective.metric and values.get(name) is not None
        ]
        text = ", ".join([f"{self.objective.metric} {shown}", *others])
        self.console.print(f"  epoch {epoch}/{epochs}: {text}")
        self.written = time.monotonic()

    def trial_claimed(self, number: int) -> None:
        """See `dmx.sweep.events.SweepObserver`."""

    def trial_started(self, number: int, trials: int, values: Mapping[str, Any]) -> None:
        """See `dmx.sweep.events.SweepObserver`."""
        self._end_bar()
        chosen = [str(values[path]) for path in COMPONENT_PATHS if path in values]
        self.title = f"trial {number}"
        self.console.print(f"[bold]trial {number}[/] (of {trials}): {', '.join(chosen)}")

    def trial_paused(self, number: int, result: RunResult) -> None:
        """See `dmx.sweep.events.SweepObserver`."""
        self._end_bar()
        self.console.print(f"  {result.reason}", markup=False)

    def trial_finished(self, number: int, result: RunResult) -> None:
        """See `dmx.sweep.events.SweepObserver`."""
        self._end_bar()
        best = f" at {result.best.value:.4g}" if result.best else ""
        reason = f": {result.reason}" if result.reason else ""
        self.console.print(f"  {result.outcome}{best} in {result.seconds:.0f} s{reason}", markup=False)

    def _begin_bar(self, title: str, total: int, done: int = 0) -> None:
        if not self.console.is_terminal or self.console.quiet:
            return
        columns = (SpinnerColumn(), "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, TextColumn("{task.fields[speed]}"), console=self.console, transient=True)
        self.bar.add_task(title, total=total, completed=done, speed="")
        self.bar.start()

    def _end_bar(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _line(self, text: str) -> None:
        if self.bar is None and time.monotonic() - self.written > LINE_SECONDS:
            self.console.print(text, markup=False)
            self.written = time.monotonic()
