"""The learning-rate range test: a short training in which the learning rate rises until the loss explodes.

Smith 2017 ("Cyclical learning rates for training neural networks"), section 3.3. Our deviations: the rate rises
geometrically, not linearly, as the search spans powers of ten; and the criterion is the loss, smoothed by a running
mean, not the accuracy. The task losses are summed with the initial weights of the weighting: weights that are learned
or random would change the total without any improvement.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import yaml
from torch.optim.lr_scheduler import LambdaLR

from dmx.config.experiment import flatten
from dmx.errors import UserError
from dmx.experiment.failures import reason
from dmx.experiment.prepare import Prepared
from dmx.experiment.run import learner_of
from dmx.outcome import Outcome
from dmx.quartet import Batch
from dmx.tracking import Home, RunStart, RunTracker, open_run
from dmx.tracking.home import CONFIG
from dmx.training.step import DivergedError

MEMORY = 0.8
"""β of the smoothed loss: it lags by about 4 steps, which is 0.3 powers of ten for 100 steps from 1e-7 to 10."""
EXPLODED = 4.0
"""The test ends when the smoothed loss exceeds its lowest value by this factor, and exceeds its first value."""


RAW, SMOOTHED, MARKS = "#9ab8d3", "#1f4e79", ("#c0392b", "#2e8b57")


@dataclass(frozen=True)
class Curve:
    """Loss by learning rate.

    Attributes:
        rates: The learning rate of each step, rising.
        losses: The loss of each step, before its update.
        smoothed: Their running means.
        ended: Why the test ended before its last rate; empty if it did not.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    ended: str

    @property
    def lowest(self) -> int:
        """The step of the lowest smoothed loss."""
        return int(np.argmin(self.smoothed))

    @property
    def steepest(self) -> float | None:
        """The learning rate at which the smoothed loss falls fastest; None if it does not fall.

        Slopes are those of secants over a tenth of the steps, as slopes between neighbouring steps are mostly noise.
        """
        half = max(1, len(self.rates) // 20)
        s = np.array(self.smoothed[: self.lowest + 1])
        if len(s) <= 2 * half:
            return None
        falls = s[: -2 * half] - s[2 * half :]
        return self.rates[int(np.argmax(falls)) + half] if falls.max() > 0 else None

    @property
    def tenth(self) -> float | None:
        """A tenth of the learning rate at the lowest smoothed loss; None if the loss does not fall."""
        return None if self.steepest is None else self.rates[self.lowest] / 10


def rate(low: float, high: float, step: int, steps: int) -> float:
    """lr_k = low (high / low)^(k / (n - 1)).

    >>> [round(rate(1e-3, 10, k, 5), 6) for k in range(5)]
    [0.001, 0.01, 0.1, 1.0, 10.0]
    """
    return float(low * (high / low) ** (step / (steps - 1)))


def smooth(losses: list[float]) -> float:
    """The running mean Σ_k β^(n-k) L_k / Σ_k β^(n-k) of the losses L_1, ..., L_n.

    >>> smooth([2.0, 2.0, 2.0])
    2.0
    """
    weights = MEMORY ** np.arange(len(losses) - 1, -1, -1)
    return float(np.dot(weights, losses) / weights.sum())


def range_test(
    prepared: Prepared,
    low: float,
    high: float,
    steps: int,
    observe: Callable[[int, float, float, float], None] = lambda step, rate, loss, smoothed: None,
) -> Curve:
    """Train the model of `prepared` with a learning rate that rises from `low` to `high`.

    Parameter groups keep the ratios of their learning rates. Batches are those of the first stage of training.

    Args:
        prepared: The prepared experiment; its weights are unusable afterwards.
        low: The first learning rate, above 0.
        high: The last one, above `low`.
        steps: The maximum number of steps.
        observe: Called after each step, counted from 0, with its learning rate, loss and smoothed loss.

    Raises:
        UserError: The loss is not finite at the first step.
    """
    learner = learner_of(prepared)
    optimizer = learner.optimizer
    base = optimizer.param_groups[0]["initial_lr"]  # the first group has the full learning rate
    rising = LambdaLR(optimizer, lambda step: rate(low, high, step, steps) / base)
    learner = replace(learner, schedule=rising)
    learner.model.train()
    weights = learner.loss.weighting.weights()
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    ended = ""
    for step, batch in zip(range(steps), batches(prepared), strict=False):
        lr = optimizer.param_groups[0]["lr"]
        try:
            parts = learner.forward_backward(batch, learner.model)
            learner.update()
            loss = float(sum(weights[task] * parts[f"loss/{task}"].item() for task in weights))
            if not math.isfinite(loss):  # the training step itself does not check this on a GPU
                raise DivergedError("loss is not finite")
        except DivergedError as error:
            ended = f"{error} at learning rate {lr:.2g}"
            break
        rates.append(lr)
        losses.append(loss)
        smoothed.append(smooth(losses))
        observe(step, lr, loss, smoothed[-1])
        if exploded(smoothed):
            ended = f"the loss exploded at learning rate {lr:.2g}"
            break
    if not rates:
        raise UserError(f"lr-find: {ended}, before any update of the weights; look for the fault in data and losses.")
    return Curve(tuple(rates), tuple(losses), tuple(smoothed), ended)


def exploded(smoothed: list[float]) -> bool:
    """Whether the last value is far above the lowest, and above the first, also for losses below 0."""
    lowest, last = min(smoothed), smoothed[-1]
    return last > smoothed[0] and last - lowest > (EXPLODED - 1) * abs(lowest)


def batches(prepared: Prepared) -> Iterator[Batch]:
    """The training batches of the first stage, epoch after epoch."""
    for epoch in count():
        yield from prepared.loaders.train(prepared.config.stages[0], epoch, 0)


def find(
    prepared: Prepared,
    home: Home,
    low: float,
    high: float,
    steps: int,
    progress: Callable[[int, int], None],
    *,
    stores: bool = True,
) -> tuple[Curve, Path]:
    """Run a range test as its own tracked run, in the experiment's MLflow experiment.

    Args:
        prepared: See `range_test`, also for `low`, `high` and `steps`.
        home: The results folder.
        low: The first learning rate.
        high: The last one.
        steps: The maximum number of steps.
        progress: Called after each step with the number of steps done and the total.
        stores: Whether to log to MLflow and TensorBoard in addition to the journal.

    Returns:
        The curve, and the path of its plot.

    Raises:
        UserError: See `range_test`.
    """
    name = prepared.config.name
    free = (run_id for k in count(1) if not home.run(run_id := f"lr-find-{name}-{k}").exists())
    tracker = open_run(home, next(free), _start(prepared, low, high, steps), stores=stores)

    def observe(step: int, rate: float, loss: float, smoothed: float) -> None:
        tracker.log(step, {"lr_find/rate": rate, "lr_find/loss": loss, "lr_find/loss_smoothed": smoothed})
        progress(step + 1, steps)

    try:
        curve = range_test(prepared, low, high, steps, observe)
        plot = home.root / "lr-find" / f"{name}.png"
        save_plot(plot, name, curve)
    except KeyboardInterrupt:
        tracker.finish(Outcome.INTERRUPTED, "SIGINT")
        raise
    except Exception as error:
        tracker.finish(Outcome.CRASHED, reason(error))
        raise
    _close(tracker, curve, plot)
    return curve, plot


def _start(prepared: Prepared, low: float, high: float, steps: int) -> RunStart:
    config = prepared.config
    return RunStart(
        experiment=config.name,
        name=f"lr-find {config.name}",
        tags={"dmx.role": "lr-find", "dmx.fingerprint": config.fingerprint, "dmx.data": prepared.data_fingerprint[:16]},
        params={**flatten(config), "lr_find.from": low, "lr_find.to": high, "lr_find.steps": steps},
        files={CONFIG: yaml.safe_dump(config.dump(), sort_keys=False)},
    )


def _close(tracker: RunTracker, curve: Curve, plot: Path) -> None:
    last = len(curve.rates) - 1
    both = {"lr_find/steepest": curve.steepest, "lr_find/tenth_of_lowest": curve.tenth}
    tracker.log(last, {key: value for key, value in both.items() if value is not None})
    tracker.artifact(plot)
    tracker.finish(Outcome.COMPLETE, curve.ended)


def save_plot(path: Path, name: str, curve: Curve) -> None:
    """Plot an experiment's loss by learning rate as a PNG, without pyplot, which keeps figures alive."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log", xlabel="learning rate (no unit)", ylabel="training loss (no unit)")
    axes.set_title(f"Learning-rate range test: {name}")
    axes.plot(curve.rates, curve.losses, ".-", color=RAW, linewidth=0.8, markersize=4, label="loss of each step")
    axes.plot(curve.rates, curve.smoothed, color=SMOOTHED, linewidth=2, label="smoothed")
    marks = (("steepest descent", curve.steepest), ("a tenth of the lowest point's", curve.tenth))
    for colour, (what, rate) in zip(MARKS, marks, strict=True):
        if rate is not None:
            axes.axvline(rate, color=colour, linestyle="--", label=f"{what}: {rate:.2g}")
            height = float(np.interp(np.log(rate), np.log(curve.rates), curve.smoothed))
            axes.plot([rate], [height], "o", color=colour)
    axes.set_ylim(*view(curve.losses))
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.print_png(path)  # type: ignore[no-untyped-call]  # matplotlib has no types there


def view(losses: Sequence[float]) -> tuple[float, float]:
    """The range of losses to show, without the highest twentieth, as an explosion would dwarf all other losses."""
    low, high = min(losses), float(np.percentile(losses, 95))
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin
