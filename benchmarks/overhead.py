"""What a trial costs beside its training, in a study that has many already.

    python benchmarks/overhead.py [--stored 10 1000 5000] [--trials 5]

For each number of stored trials, medians of some trials in a fresh study with 12 parameters, in seconds: claiming one;
TPE's proposal, which is the sampler's own time; 20 reports with the pruner's answers; the run (its folder, journal, and
a run in MLflow opened, filled and closed by the forwarder, waited for); telling. The goal is below 0.3 s at 5,000
stored trials without the sampler's time.
"""

import argparse
import statistics
import tempfile
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from dmx.config import StudyConfig, parse_study
from dmx.config.space import Space, build_space
from dmx.outcome import Outcome
from dmx.sweep.halving import claimable_trials
from dmx.sweep.pruning import report_epoch
from dmx.sweep.suggest import distribution, suggest
from dmx.sweep.trial_queue import TrialQueue, open_queue
from dmx.tracking import RunStart, open_run
from dmx.tracking.home import Home

METRIC = "val/depth/rmse_pooled"
EPOCHS = 20


def study(trials: int) -> tuple[StudyConfig, Space]:
    """12 parameters that always apply."""
    search: dict[str, Any] = {
        "optimizer.adamw.lr": {"low": 1e-4, "high": 1e-2, "log": True},
        "optimizer.adamw.weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
        "optimizer.adamw.beta1": {"low": 0.8, "high": 0.95},
        "weighting.fixed.mask": {"low": 0.1, "high": 10, "log": True},
        "weighting.fixed.depth": {"low": 0.1, "high": 10, "log": True},
        "loss.depth.silog.lam": {"low": 0.1, "high": 1.0},
        "schedule.one_cycle.warmup": {"low": 0.1, "high": 0.5},
        "model.depthmasknet.width": [8, 16, 32],
        "model.depthmasknet.upsampling": ["pixel_shuffle", "bilinear", "nearest"],
        "stages.0.batch_size": {"low": 8, "high": 64, "step": 8},
        "training.clip_norm": {"low": 0.1, "high": 10, "log": True},
        "training.ema_decay": [None, 0.99, 0.999],
    }
    experiment = {
        "name": "overhead",
        "data": {"root": "data/none"},
        "model": "depthmasknet",
        "loss": {"mask": "bce_dice", "depth": "silog"},
        "optimizer": "adamw",
        "schedule": "one_cycle",
        "stages": [{"epochs": EPOCHS, "size": 64, "batch_size": 16}],
    }
    data = {"name": "overhead", "experiment": experiment, "search": search, "trials": trials}
    config = parse_study(data, "overhead")
    return config, build_space(config, "metric")


def fill(queue: TrialQueue, space: Space, count: int) -> None:
    """Complete trials with random parameters and 20 reports each."""
    draw, study = np.random.default_rng(0), queue.load_study()
    distributions = {dimension.path: distribution(dimension) for dimension in space.dimensions}
    for _ in range(count):
        params = {}
        for path, kind in distributions.items():
            if isinstance(kind, optuna.distributions.CategoricalDistribution):
                params[path] = kind.choices[draw.integers(len(kind.choices))]
            elif isinstance(kind, optuna.distributions.IntDistribution):
                params[path] = int(draw.integers(kind.low // kind.step, kind.high // kind.step + 1) * kind.step)
            else:
                params[path] = float(draw.uniform(kind.low, kind.high))
        values = np.sort(draw.uniform(0.5, 2, EPOCHS))[::-1]
        study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions=distributions,
                value=float(values[-1]),
                intermediate_values={i + 1: float(value) for i, value in enumerate(values)},
            )
        )


def claim(queue: TrialQueue, config: StudyConfig) -> int:
    """What a worker does to have a trial."""
    assert queue.finished() < config.trials
    queue.stale()
    return next(one.number for one in claimable_trials(queue.trials(), config) if queue.claim(one.number))


def one_trial(queue: TrialQueue, config: StudyConfig, space: Space, home: Home) -> dict[str, float]:
    """Seconds of each part of a trial without training."""
    times: dict[str, float] = {}

    def timed(what: str, call: Any) -> Any:
        begun = time.perf_counter()
        found = call()
        times[what] = times.get(what, 0.0) + time.perf_counter() - begun
        return found

    number = timed("claim", lambda: claim(queue, config))
    trial, _ = timed("propose", lambda: suggest(queue, config, space, number))
    run_id = f"overhead-{number:05d}"
    start = RunStart("overhead", run_id, {}, {f"p{i}": i for i in range(80)}, {"config.yaml": "x: 1\n" * 100})
    tracker = timed("run", lambda: open_run(home, run_id, start))
    for epoch in range(1, EPOCHS + 1):
        metrics = {METRIC: 0.4 / epoch}
        timed("reports", partial(report_epoch, trial, queue, config, {}, epoch, metrics))
        timed("run", partial(tracker.log, epoch, {f"m{i}": 1.0 / epoch for i in range(20)}))
    timed("run", lambda: tracker.finish(Outcome.COMPLETE, ""))
    timed("tell", lambda: trial.study.tell(trial, 0.4 / EPOCHS))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored", type=int, nargs="+", default=[10, 1000, 5000])
    parser.add_argument("--trials", type=int, default=5)
    options = parser.parse_args()
    print(f"{datetime.now():%Y-%m-%d}: seconds of a trial, medians of {options.trials}")
    print("| stored trials | claim | reports | run | tell | together | proposal (TPE) |\n|---|---|---|---|---|---|---|")
    for stored in options.stored:
        with tempfile.TemporaryDirectory() as folder:
            home = Home(Path(folder))
            config, space = study(stored + options.trials + 1)
            queue = open_queue(config, home.study("overhead"))
            fill(queue, space, stored)
            queue.fill()
            rounds = [one_trial(queue, config, space, home) for _ in range(options.trials + 1)][1:]
            m = {part: statistics.median(one[part] for one in rounds) for part in rounds[0]}
            beside = [m[part] for part in ("claim", "reports", "run", "tell")]
            cells = [*(f"{value:.3f}" for value in (*beside, sum(beside))), f"{m['propose']:.3f}"]
            print(f"| {stored} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
