"""The sweep: ask, train, tell, until the study has its trials."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import optuna
import yaml
from filelock import FileLock, Timeout
from optuna.trial import TrialState

from dmx.config import StudyConfig, parse_experiment
from dmx.config.space import Space, build_space
from dmx.errors import DataError, UserError
from dmx.experiment import IDENTITY, check_identity, crashed, identity_of, prepare, read_result, run
from dmx.outcome import Outcome
from dmx.sweep.storage import open_study
from dmx.sweep.suggest import ask
from dmx.tracking import RunStart, RunTracker, open_run, sync
from dmx.tracking.files import replace_text
from dmx.tracking.home import Home
from dmx.training.progress import Progress
from dmx.training.result import RunResult

STUDY = "study.yaml"
STATES = {Outcome.COMPLETE: TrialState.COMPLETE, Outcome.PRUNED: TrialState.PRUNED}
"""Every other outcome that ends a trial is FAIL; an interrupted trial waits for the next start."""


@runtime_checkable
class Watcher(Progress, Protocol):
    """Someone who watches a sweep."""

    def trial(self, number: int, trials: int, values: Mapping[str, Any]) -> None:
        """Trial `number` of `trials` begins, or goes on, with these values."""

    def told(self, number: int, result: RunResult) -> None:
        """Trial `number` has ended."""


@dataclass(frozen=True)
class Summary:
    """Where a sweep stands when the command ends."""

    finished: int
    trials: int
    ran: int
    interrupted: bool
    unsent: int


def sweep(config: StudyConfig, home: Home, watcher: Watcher) -> Summary:
    """Run trials until the study has `config.trials` in all, going on where it was left.

    Raises:
        UserError: The configuration does not fit the data, or the study in `home` was made by another configuration.
    """
    folder = home.study(config.name)
    if (folder / STUDY).exists():
        check_same(config, home)
        before = finished(open_study(config, folder))
        if before >= config.trials:
            replace_text(folder / STUDY, yaml.safe_dump(config.dump(), sort_keys=False))
            return Summary(before, config.trials, 0, interrupted=False, unsent=0)
    base = prepare(config.experiment, home, watcher.loading)
    space = build_space(config, base.index.depth.kind, base.index.has_background)
    with alone(folder):
        check_identity(folder / IDENTITY, base, f"study '{config.name}'")
        replace_text(folder / IDENTITY, json.dumps(identity_of(base), indent=1))
        study = open_study(config, folder)
        replace_text(folder / STUDY, yaml.safe_dump(config.dump(), sort_keys=False))
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            wait(study, trial.number)  # the lock is ours, so nobody is running it
        return Sweep(config, home, space, study, watcher).run()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process that works on the study in `folder`; the system takes the lock back when a process dies.

    Raises:
        UserError: Another process works on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout:
        raise UserError(
            f"another process works on the study in {folder}; wait until it has ended, or stop it."
        ) from None


def check_same(config: StudyConfig, home: Home) -> None:
    """Make sure that the study of this name in `home` searches for the same.

    Raises:
        UserError: It does not; the message lists the differences.
    """
    old = yaml.safe_load((home.study(config.name) / STUDY).read_text())
    after = ("trials", "train_best")
    flat_old, flat_new = (
        {key: value for key, value in flat(data).items() if key.partition(".")[0] not in after}
        for data in (old, json.loads(json.dumps(config.dump())))
    )
    changed = sorted(key for key in flat_old | flat_new if flat_old.get(key) != flat_new.get(key))
    if changed:
        lines = "".join(f"\n  {key}: {flat_old.get(key)!r} -> {flat_new.get(key)!r}" for key in changed)
        raise UserError(
            f"study '{config.name}' in {home.study(config.name)} was made by another configuration:{lines}\n"
            "Give the changed study another `name`; trials of both would not compare."
        )


def flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Nested plain data by dotted path."""
    if not isinstance(data, dict | list):
        return {prefix: data}
    items = data.items() if isinstance(data, dict) else enumerate(data)
    return {k: v for key, value in items for k, v in flat(value, f"{prefix}.{key}" if prefix else str(key)).items()}


def finished(study: optuna.Study) -> int:
    """How many trials have ended, in whatever way."""
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def wait(study: optuna.Study, number: int) -> None:
    """Put a trial back into the queue: the next `ask` gives it again, with the values that it has."""
    trial = study.get_trials(deepcopy=False)[number]
    study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)


@dataclass
class Sweep:
    """One start of a study."""

    config: StudyConfig
    home: Home
    space: Space
    study: optuna.Study
    watcher: Watcher
    unsent: int = 0

    def run(self) -> Summary:
        """Trials until there are enough or somebody interrupts."""
        before = finished(self.study)
        record = self._open_record()
        interrupted = False
        while finished(self.study) < self.config.trials and not interrupted:
            try:
                interrupted = self._next_trial(record) is Outcome.INTERRUPTED
            except KeyboardInterrupt:
                interrupted = True
            except UserError as error:  # as every further trial would fail
                record.finish(Outcome.INTERRUPTED, str(error))
                raise
        record.artifact(self.home.study(self.config.name) / STUDY)
        reason = "the same command goes on" if interrupted else ""
        self.unsent += record.finish(Outcome.INTERRUPTED if interrupted else Outcome.COMPLETE, reason)
        after = finished(self.study)
        return Summary(after, self.config.trials, after - before, interrupted, self.unsent)

    def _next_trial(self, record: RunTracker) -> Outcome:
        """Ask, train and tell; a trial that does not come to an end goes back into the queue."""
        trial, values = ask(self.study, self.config, self.space)
        outcome = Outcome.INTERRUPTED
        try:
            outcome = self._run_trial(trial, values)
        finally:
            if outcome is Outcome.INTERRUPTED:
                wait(self.study, trial.number)
        record.log(trial.number + 1, self._standing())
        return outcome

    def _run_trial(self, trial: optuna.Trial, values: dict[str, Any]) -> Outcome:
        """Train one trial, or go on with it, and tell Optuna how it ended."""
        run_id = f"{self.config.name}-{trial.number:04d}"
        self.watcher.trial(trial.number, self.config.trials, values)
        found = read_result(self.home.run(run_id))
        if found is not None and found[0].outcome is not Outcome.INTERRUPTED:
            result = found[0]  # killed between the end of the run and the telling
            self.unsent += sync(self.home, run_id)
        else:
            result = self._train(trial, run_id, values)
        if result.outcome is Outcome.INTERRUPTED:
            return result.outcome
        trial.set_user_attr("run", run_id)
        trial.set_user_attr("outcome", str(result.outcome))
        trial.set_user_attr("reason", result.reason)
        state = STATES.get(result.outcome, TrialState.FAIL)
        value = result.best.value if result.best and state is TrialState.COMPLETE else None
        if value is None and state is TrialState.COMPLETE:  # the objective was undefined in every epoch
            state = TrialState.FAIL
        self.study.tell(trial, value, state=state)
        self.watcher.told(trial.number, result)
        return result.outcome

    def _train(self, trial: optuna.Trial, run_id: str, values: dict[str, Any]) -> RunResult:
        def report(epoch: int, value: float) -> bool:
            if epoch not in self.study.get_trials(deepcopy=False)[trial.number].intermediate_values:
                trial.report(value, epoch)
            return bool(trial.should_prune())

        tags = {"dmx.role": "trial", "dmx.study": self.config.name, "dmx.trial": str(trial.number)}
        try:
            config = parse_experiment(self.space.raw(values), f"trial {trial.number}")
            prepared = prepare(config, self.home, self.watcher.loading)
            result, unsent = run(
                prepared,
                self.home,
                run_id,
                experiment=self.config.name,
                tags=tags,
                progress=self.watcher,
                report=report,
            )
            self.unsent += unsent
        except DataError:  # which every further trial would meet
            raise
        except Exception as error:  # one trial's crash, or what does not go together in it, must not end the others
            return crashed(error)
        return result

    def _open_record(self) -> RunTracker:
        """The study's own run in MLflow, beside those of its trials."""
        name = self.config.name
        start = RunStart(
            experiment=name,
            name=f"{name} (study)",
            tags={"dmx.role": "study", "dmx.study": name},
            params={f"search.{d.path}": str(d.search) for d in self.space.dimensions},
        )
        return open_run(self.home, f"{name}-study", start)

    def _standing(self) -> dict[str, float]:
        """How many trials have ended in which way, and the best value so far."""
        trials = self.study.get_trials(deepcopy=False)
        counts = {
            f"trials/{state.name.lower()}": float(sum(trial.state is state for trial in trials))
            for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        }
        if not counts["trials/complete"]:
            return counts
        return {**counts, "trials/best_value": self.study.best_value}
