"""A study made ready, worked on by one process after the other or by many, and closed."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from dmx.config import StudyConfig
from dmx.config.flat import flat_name
from dmx.config.space import Space, build_space
from dmx.errors import UserError
from dmx.experiment import IDENTITY, check, check_equal, check_identity, identity_of
from dmx.outcome import Outcome
from dmx.registry import Choice
from dmx.sweep.agreement import agree, agreed, check_same, check_storage, note_storage
from dmx.sweep.claims import Claims
from dmx.sweep.closing import closed, lacking, send_the_rest, tidy_all
from dmx.sweep.database import shown
from dmx.sweep.known import check_own, no_trials
from dmx.sweep.standing import complete, standing_of
from dmx.sweep.storage import JOURNAL, open_claims
from dmx.sweep.stored import STUDY
from dmx.sweep.suggest import first_trials
from dmx.sweep.watcher import Watcher
from dmx.sweep.worker import Worker
from dmx.tracking import RunStart, RunTracker, open_run
from dmx.tracking.files import make_folder, replace_text
from dmx.tracking.home import Home
from dmx.tracking.mlflow_view import View
from dmx.written import read_yaml

Conclude = Callable[[StudyConfig, Claims], Iterable[Path]]
GOES_ON = "the same command goes on"


@dataclass(frozen=True)
class Summary:
    """Where a sweep stands when the command ends.

    Attributes:
        finished: How many of the `trials` have ended.
        complete: How many of these are complete.
        ran: How many ended here and now.
        stopped: Why it was stopped before its last trial; empty where it was not.
        unsent: How many events the stores still lack.
        failed: Whether it was stopped because too many trials failed.
    """

    finished: int
    trials: int
    complete: int
    ran: int
    stopped: str
    unsent: int
    failed: bool = False


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

    def close(self, stopped: str, runs: Collection[str], conclude: Conclude = lambda config, claims: ()) -> Summary:
        """Close the study's own run; gives where the study stands.

        Args:
            stopped: Why it was stopped; empty where it was not.
            runs: The trials' runs that were worked on.
            conclude: Makes what is to be kept with a study that is whole.
        """
        after = self.claims.finished()
        if self.record is not None:
            self.record.artifact(self.home.study(self.config.name) / STUDY)
            whole = after >= self.config.trials and not stopped
            for path in conclude(self.config, self.claims) if whole else ():
                self.record.artifact(path)
            self.record.finish(Outcome.COMPLETE if whole else Outcome.INTERRUPTED, stopped)  # waits for the stores
            runs = {*runs, self.record.folder.name}
        unsent = sum(lacking(self.home, run) for run in runs)
        return Summary(after, self.config.trials, complete(self.claims), after - self.before, stopped, unsent)


def sweep(config: StudyConfig, home: Home, watcher: Watcher) -> Summary:
    """Run trials in this process, one after the other, until the study has `config.trials` in all.

    Raises:
        UserError: As `ready`; or every further trial would fail.
    """
    with ready(config, home) as study:
        if isinstance(study, Summary):
            return study
        worker = Worker(config, home, study.claims, study.space, watcher)
        try:
            for _ in worker.work():
                study.note()
        except KeyboardInterrupt:
            worker.interrupted = True
        except UserError as error:
            with suppress(OSError):  # there may be no room for it
                study.close(str(error), ())
            raise
        return study.close(GOES_ON if worker.interrupted else "", worker.runs)


@contextmanager
def ready(config: StudyConfig, home: Home, url: str | None = None) -> Iterator["Ready | Summary"]:
    """Check everything, make the study or go on with it; where it stands, if nothing is left to do.

    Args:
        config: The study.
        home: Where results are.
        url: The database that workers of several machines share; without it the study is in `home`, and only one
            process may supervise it.

    Raises:
        UserError: The configuration does not fit the data, or the study in `home` was made by another configuration.
    """
    folder = home.study(config.name)
    if url is None and not (folder / JOURNAL).is_file():
        check_own(home, config.name, range(config.trials), no_trials)
    if (folder / STUDY).exists():
        check_same(config, read_yaml(folder / STUDY), str(folder))
        check_storage(folder, url)
        claims = open_claims(config, folder, url)
        if closed(claims, home):
            replace_text(folder / STUDY, yaml.safe_dump(config.dump(), sort_keys=False))
            yield Summary(claims.finished(), config.trials, complete(claims), 0, "", 0)
            return
    base = check(config.experiment, config.metrics)
    space = build_space(config, base.index.depth.kind, base.index.has_background)
    first_trials(config, space)  # a mistake in the queue shows before anything is written
    with alone(folder):
        check_identity(folder / IDENTITY, base, f"study '{config.name}'")
        replace_text(folder / IDENTITY, json.dumps(identity_of(base), indent=1))
        note_storage(folder, url)
        claims = open_claims(config, folder, url)
        check_own(home, config.name, range(config.trials), claims.trials)
        agree(claims, config, identity_of(base))
        replace_text(folder / STUDY, yaml.safe_dump(config.dump(), sort_keys=False))
        if url is None:
            claims.release_all()  # the lock is ours, so nobody works on them
        tidy_all(claims, config, home)
        claims.fill()
        send_the_rest(claims, home)
        yield _ready(config, home, claims, space, base.index.depth.kind, base.index.has_background)


def _ready(config: StudyConfig, home: Home, claims: Claims, space: Space, kind: str, has_background: bool) -> Ready:
    record = _open_record(config, home, space)
    return Ready(config, home, claims, space, kind, has_background, record, claims.finished())


def joined(name: str, home: Home, url: str) -> Ready:
    """A study that `dmx sweep --storage` has begun somewhere.

    Raises:
        UserError: No such study is there, or the data here are others than those that it began with.
    """
    claims, config, identity = agreed(name, url)
    base = check(config.experiment, config.metrics)
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
    make_folder(folder)
    try:
        with FileLock(folder / "lock", timeout=0):
            yield
    except Timeout:
        raise UserError(
            f"another process works on the study in {folder}; wait until it has ended, or stop it."
        ) from None


def looked_at(config: StudyConfig, space: Space) -> View:
    """The goals of a study, and what each of its trials draws."""
    places = [flat_name(dimension.path) for dimension in space.dimensions]
    choices = {d.path: len(d.search.values) for d in space.dimensions if isinstance(d.search, Choice)}
    drawn = [
        name
        for name, d in zip(places, space.dimensions, strict=True)
        if d.when is None or places.count(name) == choices.get(d.when[0])
    ]
    objective = config.experiment.objective
    metrics = dict.fromkeys((*config.metrics, "val/mask/iou_pooled", "val/depth/rmse_pooled"))
    return View(
        objective=objective.metric,
        ascending=objective.direction == "minimize",
        metrics=(*metrics,),
        params=(*dict.fromkeys(drawn),),
    )


def _open_record(config: StudyConfig, home: Home, space: Space) -> RunTracker:
    start = RunStart(
        experiment=config.name,
        name=f"{config.name} (study)",
        tags={"dmx.role": "study", "dmx.study": config.name},
        params={f"search.{d.path}": str(d.search) for d in space.dimensions},
        view=looked_at(config, space),
    )
    return open_run(home, f"{config.name}-study", start)
