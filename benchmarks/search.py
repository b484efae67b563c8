"""How many epochs a search needs to find what random search finds.

    python benchmarks/curves.py
    python benchmarks/search.py [--table data/curves.jsonl] [--seeds 5] [--without-ray]

Searches are replayed on the table of `benchmarks/curves.py`: `dmx` with its real worker (queue, proposals, judgements,
pausing and resuming in a journal; only the training is read from the table), Ray Tune with OptunaSearch and ASHA, one
trial at a time, with a function that reports the table's values. Epochs are those that would have been trained; a
configuration that `dmx` has trained already it answers from the record, and Ray trains it again.

One objective: the target is the median over the seeds of the best value that random search without pruning has seen
after 40 trials of 9 epochs. Two objectives: the target is the hypervolume that the same sampler has seen without
pruning after 40 trials, its median over the seeds; the reference is the first trial of each.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from curves import DEPTH, EPOCHS, MASK, key, read, study
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from rich.console import Console
from rich.table import Table

from dmx.outcome import Outcome
from dmx.results.pareto import hypervolume
from dmx.stored import replace_text
from dmx.sweep.events import SweepObserver
from dmx.sweep.halving import last_passed
from dmx.sweep.pruning import report_epoch
from dmx.sweep.suggest import distribution, first_trials
from dmx.sweep.trial_queue import open_queue
from dmx.sweep.worker import FINGERPRINT, Worker, duplicate_result
from dmx.tracking.home import RESULT, Home
from dmx.training.progress import Silent
from dmx.training.result import BestEpoch, RunResult

Row = Mapping[str, Any]
Seen = list[dict[str, float | None]]
TRIALS, MORE = 40, 160


class Unobserved(Silent):
    """Observes nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: None


class Replay(Worker):
    """The worker of `dmx sweep` with training read from a table.

    Attributes:
        seen: The metrics of every epoch that was trained, in order.
    """

    table: Mapping[str, Row]
    enough: Callable[[Seen], bool]

    def _train(self, trial: Trial, drawn: dict[str, Any]) -> RunResult:
        name = key(drawn)
        trial.set_user_attr(FINGERPRINT, name)
        result = duplicate_result(trial, name, {}, self.queue, self.home) or self._read(trial, self.table[name])
        folder = self.home.run(self.run_id(trial.number))
        folder.mkdir(parents=True, exist_ok=True)
        objective = self.config.experiment.objective.model_dump(mode="json")
        record = {"tags": {}, "params": {}, "objective": objective, **result.to_dict()}
        replace_text(folder / RESULT, json.dumps(record))
        return result

    def _read(self, trial: Trial, row: Row) -> RunResult:
        epochs, own, reason = row["epochs"], self.config.experiment.objective, ""
        for epoch in range(last_passed(trial.user_attrs) + 1, len(epochs) + 1):
            self.seen.append(epochs[epoch - 1])
            self.interrupted = self.interrupted or self.enough(self.seen)
            reason = report_epoch(trial, self.queue, self.config, {}, epoch, epochs[epoch - 1])
            if reason and epoch < EPOCHS:
                break
        else:
            reason, epoch = "", len(epochs)
        whole = len(epochs) == EPOCHS
        outcome = Outcome.PRUNED if reason else Outcome.COMPLETE if whole else Outcome.DIVERGED
        known = [(e[own.metric], i) for i, e in enumerate(epochs[:epoch], 1) if e[own.metric] is not None]
        best = None
        if known:
            value, at = min(known)
            best = BestEpoch(at, at, value, {**epochs[at - 1]})
        return RunResult(outcome, reason, best, epoch, epoch, 0.0)


def replayed(table: Mapping[str, Row], seed: int, enough: Callable[[Seen], bool], trials: int, **settings: Any) -> Seen:
    """The metrics of every epoch that a study of so many trials trains, until they are enough."""
    config, space = study(Path("none"), seed=seed, trials=trials, **settings)
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        queue = open_queue(config, home.study(config.name))
        queue.fill()
        observer: SweepObserver = Unobserved()
        worker = Replay(config, home, queue, space, observer)
        worker.table, worker.enough, worker.seen = table, enough, []
        for _ in worker.run_trials():
            pass
        return worker.seen


def asked(trial: optuna.Trial) -> dict[str, Any]:
    """What the study's space asks of Optuna; Ray wants it by name."""
    values: dict[str, Any] = {}
    for dimension in study(Path("none"))[1].dimensions:
        if dimension.applies(values):
            values[dimension.path] = suggest_value(trial, dimension.path, distribution(dimension))
    return {"row": key(values)}


def suggest_value(trial: optuna.Trial, path: str, wanted: BaseDistribution) -> Any:
    """Ask a trial for a value."""
    if isinstance(wanted, CategoricalDistribution):
        return trial.suggest_categorical(path, wanted.choices)
    if isinstance(wanted, IntDistribution):
        return trial.suggest_int(path, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
    assert isinstance(wanted, FloatDistribution)
    return trial.suggest_float(path, wanted.low, wanted.high, step=wanted.step, log=wanted.log)


def with_ray(table: Mapping[str, Row], seed: int, enough: Callable[[Seen], bool], trials: int) -> Seen:
    """The same of Ray Tune: OptunaSearch and ASHA; the first trial is the study's own experiment there, too."""
    from ray import tune
    from ray.tune import Callback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    begin_ray()
    config, space = study(Path("none"), seed=seed)
    seen: Seen = []

    def train(row: dict[str, Any]) -> None:
        epochs = table[row["row"]]["epochs"]
        for epoch in epochs or [{DEPTH: None, MASK: None}]:  # Ray wants to hear something of every trial
            shown = {name: 1e6 if value is None else value for name, value in epoch.items()}
            tune.report({**shown, "trained": bool(epochs)})

    class Listen(Callback):
        def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
            if result["trained"]:
                seen.append({name: result[name] for name in (DEPTH, MASK)})

    class Enough(tune.Stopper):
        def __call__(self, trial_id: str, result: Any) -> bool:
            return False

        def stop_all(self) -> bool:
            return enough(seen)

    search = OptunaSearch(
        asked, metric=DEPTH, mode="min", seed=seed, points_to_evaluate=first_trials(config, space)[:1]
    )
    tuner = tune.Tuner(
        train,
        tune_config=tune.TuneConfig(
            metric=DEPTH,
            mode="min",
            search_alg=ConcurrencyLimiter(search, max_concurrent=1),
            scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3),
            num_samples=trials,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(callbacks=[Listen()], stop=Enough(), verbose=0, storage_path=tempfile.mkdtemp()),
    )
    tuner.fit()
    return seen


def begin_ray() -> None:
    """A cluster of one core, here and quiet."""
    import ray

    quiet = ("RAY_USAGE_STATS_ENABLED", "RAY_AIR_NEW_OUTPUT")
    os.environ |= {**dict.fromkeys(quiet, "0"), "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    if not ray.is_initialized():
        here: Any = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "log_to_driver": False}
        ray.init("local", num_cpus=1, logging_level="error", **here)


def best(seen: Seen) -> float:
    """The least depth error that was seen."""
    return min((value for one in seen if (value := one[DEPTH]) is not None), default=float("inf"))


def volume(seen: Seen) -> float:
    """The hypervolume of all that was seen over the first epochs' own experiment, in units of its values."""
    values = np.array([[one[DEPTH], -one[MASK]] for one in seen if one[DEPTH] is not None and one[MASK] is not None])
    own = values[:EPOCHS][np.argmin(values[:EPOCHS, 0])]
    return hypervolume(front(values / np.abs(own)), own / np.abs(own))


def front(values: Any) -> Any:
    """The points that count: of so many, most are dominated."""
    ordered = values[np.lexsort((values[:, 1], values[:, 0]))]
    return ordered[np.append(True, np.minimum.accumulate(ordered[:, 1])[:-1] > ordered[1:, 1])]


def epochs_of(
    methods: Mapping[str, Callable[[int], Seen]], reached: Callable[[Seen], bool], seeds: int
) -> dict[str, list[int | None]]:
    """How many epochs each method trains until it has reached the target, for each seed; None: it has not."""
    found: dict[str, list[int | None]] = {}
    for name, method in methods.items():
        runs = [method(seed) for seed in range(seeds)]
        found[name] = [len(seen) if reached(seen) else None for seen in runs]
        print(name, found[name], file=sys.stderr)
    return found


def shown(title: str, found: Mapping[str, Sequence[int | None]], whole: float, ray: str | None) -> None:
    """A table of medians, ranges and ratios; a search that did not get there counts as endless."""
    table = Table(title=title)
    for column in ("search", "epochs: median", "range", "of the whole", "of Ray's"):
        table.add_column(column)
    middle = {name: statistics.median(float("inf") if n is None else n for n in runs) for name, runs in found.items()}
    for name, runs in found.items():
        known = [n for n in runs if n is not None]
        reached = f"{min(known)} to {max(known)}" if known else ""
        missed = f", {len(runs) - len(known)} not" if len(known) < len(runs) else ""
        of_ray = f"{middle[name] / middle[ray]:.2f}" if ray in middle else ""
        table.add_row(name, f"{middle[name]:g}", reached + missed, f"{middle[name] / whole:.2f}", of_ray)
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", type=Path, default=Path("data/curves.jsonl"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--without-ray", action="store_true")
    given = parser.parse_args()
    table, seeds, never = read(given.table), range(given.seeds), lambda seen: False

    whole = [replayed(table, seed, never, TRIALS, sampler="random", pruner="none") for seed in seeds]
    target = statistics.median(best(seen) for seen in whole)

    def reached(seen: Seen) -> bool:
        return best(seen) <= target

    tpe, halving = {"name": "tpe", "startup_trials": 10}, {"name": "halving"}
    late = {"name": "halving", "min_epochs": 3, "factor": 2}
    methods: dict[str, Callable[[int], Seen]] = {
        "random, no pruning": lambda s: replayed(table, s, reached, MORE, sampler="random", pruner="none"),
        "tpe, median": lambda s: replayed(table, s, reached, MORE, sampler=tpe, pruner="median"),
        "random, halving": lambda s: replayed(table, s, reached, MORE, sampler="random", pruner=halving),
        "tpe, halving from 3, by 2": lambda s: replayed(table, s, reached, MORE, sampler=tpe, pruner=late),
        "tpe, halving": lambda s: replayed(table, s, reached, MORE, sampler=tpe, pruner=halving),
    }
    if not given.without_ray:
        methods["Ray: OptunaSearch, ASHA"] = lambda s: with_ray(table, s, reached, MORE)
    found = epochs_of(methods, reached, given.seeds)
    all_epochs = statistics.median(len(seen) for seen in whole)
    shown(
        f"One objective: {DEPTH} <= {target:.4f}, which random search saw in {all_epochs:g} epochs",
        found,
        all_epochs,
        "Ray: OptunaSearch, ASHA",
    )

    several = {"objectives": [MASK], "sampler": tpe}
    unpruned = [replayed(table, seed, never, TRIALS, **several, pruner="none") for seed in seeds]
    wanted = statistics.median(volume(seen) for seen in unpruned)

    def big(seen: Seen) -> bool:
        return len(seen) >= EPOCHS and volume(seen) >= wanted

    pairs: dict[str, Callable[[int], Seen]] = {
        "tpe, no pruning": lambda s: replayed(table, s, big, MORE, **several, pruner="none"),
        "tpe, halving": lambda s: replayed(table, s, big, MORE, **several, pruner=halving),
        "tpe, halving from 3, by 2": lambda s: replayed(table, s, big, MORE, **several, pruner=late),
    }
    budget = statistics.median(len(seen) for seen in unpruned)
    shown(
        f"Two objectives: hypervolume {wanted:.4f}, unpruned in {budget:g} epochs",
        epochs_of(pairs, big, given.seeds),
        budget,
        None,
    )


if __name__ == "__main__":
    main()
