"""A study made ready, worked on by one process after the other or by many, and closed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from filelock import FileLock, Timeout
from optuna.trial import TrialState

from dmx.config import StudyConfig
from dmx.config.space import Space, build_space
from dmx.errors import UserError
from dmx.experiment import IDENTITY, check, check_equal, check_identity, identity_of
from dmx.outcome import Outcome
from dmx.sweep.agreement import agree, agreed, check_same
from dmx.sweep.claims import Claims
from dmx.sweep.database import shown
from dmx.sweep.fronts import falling, hypervolume
from dmx.sweep.judging import front
from dmx.sweep.storage import open_claims
from dmx.sweep.suggest import first_trials
from dmx.sweep.watcher import Watcher
from dmx.sweep.worker import Worker
from dmx.tracking import RunStart, RunTracker, open_run
from dmx.tracking.delivery import unsent
from dmx.tracking.files import replace_text
from dmx.tracking.home import Home
from dmx.tracking.process import feeder

STUDY = "study.yaml"
GOES_ON = "the same command goes on"


@dataclass(frozen=True)
class Summary:
    """Where a sweep stands when the command ends.

    Attributes:
        stopped: Why it was stopped before its last trial; empty where it was not.
    """

    finished: int
    trials: int
    ran: int
    stopped: str
    unsent: int


@dataclass(frozen=True)
class Ready:
    """A study that can be worked on.

    Attributes:
        kind: The kind of depth in its data.
        has_background: Whether its data have backgrounds.
        record: The study's own run in MLflow, beside those of its trials; None where another machine keeps it.
        before: How many trials had ended.
    """

    config: StudyConfig
    home: Home
    claims: Claims
    space: Space
    kind: str
    has_background: bool
    record: RunTracker | None
    before: int

    def note(self) -> None:
        """Put on record how many trials have ended in which way, and the best value so far."""
        if self.record is not None:
            self.record.log(self.claims.finished(), standing_of(self.claims))

    def close(self, stopped: str, unsent: int) -> Summary:
        """Close the study's own run; gives where the study stands."""
        if self.record is not None:
            self.record.artifact(self.home.study(self.config.name) / STUDY)
            outcome = Outcome.INTERRUPTED if stopped else Outcome.COMPLETE
            unsent += self.record.finish(outcome, stopped)
        after = self.claims.finished()
        return Summary(after, self.config.trials, after - self.before, stopped, unsent)


def sweep(config: StudyConfig, home: Home, watcher: Watcher) -> Summary:
    """Run trials in this process, one after the other, until the study has `config.trials` in all.

    Raises:
        UserError: As `ready`; or every further trial would fail.
    """
    with ready(config, home) as study:
        if study is None:
            return Summary(config.trials, config.trials, 0, "", 0)
        worker = Worker(config, home, study.claims, study.space, watcher)
        try:
            for _ in worker.work():
                study.note()
        except KeyboardInterrupt:
            worker.interrupted = True
        except UserError as error:
            study.close(str(error), 0)
            raise
        return study.close(GOES_ON if worker.interrupted else "", worker.unsent)


@contextmanager
def ready(config: StudyConfig, home: Home, url: str | None = None) -> Iterator[Ready | None]:
    """Check everything, make the study or go on with it; None where all its trials have ended.

    Args:
        config: The study.
        home: Where results are.
        url: The database that workers of several machines share; without it the study is in `home`, and only one
            process may supervise it.

    Raises:
        UserError: The configuration does not fit the data, or the study in `home` was made by another configuration.
    """
    folder = home.study(config.name)
    if (folder / STUDY).exists():
        check_same(config, yaml.safe_load((folder / STUDY).read_text()), str(folder))
        if open_claims(config, folder, url).finished() >= config.trials:
            replace_text(folder / STUDY, yaml.safe_dump(config.dump(), sort_keys=False))
            yield None
            return
    base = check(config.experiment)
    space = build_space(config, base.index.depth.kind, base.index.has_background)
    first = first_trials(config, space)
    with alone(folder):
        check_identity(folder / IDENTITY, base, f"study '{config.name}'")
        replace_text(folder / IDENTITY, json.dumps(identity_of(base), indent=1))
        claims = open_claims(config, folder, url)
        agree(claims, config, identity_of(base))
        replace_text(folder / STUDY, yaml.safe_dump(config.dump(), sort_keys=False))
        if url is None:
            claims.release_all()  # the lock is ours, so nobody works on them
        claims.fill(first)
        send_the_rest(claims, home)
        record = _open_record(config, home, space)
        kind, has_background = base.index.depth.kind, base.index.has_background
        yield Ready(config, home, claims, space, kind, has_background, record, claims.finished())


def joined(name: str, home: Home, url: str) -> Ready:
    """A study that `dmx sweep --storage` has begun somewhere.

    Raises:
        UserError: No such study is there, or the data here are others than those that it began with.
    """
    claims, config, identity = agreed(name, url)
    base = check(config.experiment)
    check_equal(identity, identity_of(base), f"study '{name}' at {shown(url)}", base.index.root)
    kind, has_background = base.index.depth.kind, base.index.has_background
    space = build_space(config, kind, has_background)
    return Ready(config, home, claims, space, kind, has_background, None, claims.finished())


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process that supervises the study in `folder`; the system takes the lock back when a process dies.

    Raises:
        UserError: Another process does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout:
        raise UserError(
            f"another process works on the study in {folder}; wait until it has ended, or stop it."
        ) from None


def send_the_rest(claims: Claims, home: Home) -> None:
    """Have sent what the stores lack of trials that have ended, as where a supervisor was killed."""
    for trial in claims.trials():
        run_id = str(trial.user_attrs.get("run", ""))
        if trial.state.is_finished() and run_id and unsent(home, run_id):
            feeder().finish(home, run_id, 0.0)


def standing_of(claims: Claims) -> dict[str, float]:
    """How many trials have ended in which way, and the best value, or the size of the front and what lies before it.

    The hypervolume's reference is the first trial, the study's own experiment: it is what the front gains over that, as
    a share of its values.
    """
    trials = claims.trials()
    counts = {
        f"trials/{state.name.lower()}": float(sum(trial.state is state for trial in trials))
        for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    }
    if not counts["trials/complete"]:
        return counts
    study = claims.fresh()
    if len(study.directions) == 1:
        return {**counts, "trials/best_value": study.best_value}
    directions = [direction.name.lower() for direction in study.directions]
    best = front(trials, directions)
    own = [trial.values for trial in trials[:1] if trial.values]
    if not own:
        return {**counts, "trials/front": float(len(best))}
    F, reference = falling([trial.values for trial in best], directions), falling(own, directions)[0]
    gained = hypervolume(F / np.abs(reference), reference / np.abs(reference))
    return {**counts, "trials/front": float(len(best)), "trials/hypervolume": gained}


def _open_record(config: StudyConfig, home: Home, space: Space) -> RunTracker:
    start = RunStart(
        experiment=config.name,
        name=f"{config.name} (study)",
        tags={"dmx.role": "study", "dmx.study": config.name},
        params={f"search.{d.path}": str(d.search) for d in space.dimensions},
    )
    return open_run(home, f"{config.name}-study", start)
