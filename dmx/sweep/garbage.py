"""Disk usage by study, and the files that can be deleted."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dmx.data.layout import read
from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.results.pareto import rank_runs
from dmx.results.ranking import Entry, rank, results
from dmx.results.records import read_result
from dmx.sweep.definition import load_config, load_trials
from dmx.tracking.home import BEST_WEIGHTS, CHECKPOINT, CONFIG, EXTERNAL, STUDY, Home
from dmx.tracking.mlflow_store import artifact_copies, pinned
from dmx.tracking.run import take_lock
from dmx.written import place, read_yaml

SINGLE, OTHERS, SHARED = "(single runs)", "(networks of others)", "(shared)"
KINDS: dict[str, Callable[[Path], bool]] = {
    "checkpoints": lambda path: path.name == CHECKPOINT,
    "weights": lambda path: path.suffix == ".safetensors",
    "pictures": lambda path: path.suffix in (".png", ".webp"),
    "journals": lambda path: path.suffix in (".jsonl", ".journal"),
    "other": lambda path: True,
}


@dataclass(frozen=True)
class Garbage:
    """A file or folder that is no longer needed.

    Attributes:
        path: Its path.
        run: The run that it belongs to; empty if runs share it.
        study: The study of the run.
        what: The kind of file.
        why: Why it is not needed.
    """

    path: Path
    run: str
    study: str
    what: str
    why: str


def disk_usage(home: Home) -> dict[str, dict[str, int]]:
    """Bytes by study and by kind of file; links are not followed."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for folder in home.runs.glob("*/"):
        study = study_of(folder)
        for path, size in files(folder):
            found[study][kind_of(path)] += size
    for folder in home.studies.glob("*/"):
        for path, size in files(folder):
            found[folder.name][kind_of(path)] += size
    for path, size in files(home.root):
        top = path.relative_to(home.root).parts[0]
        if top not in ("runs", "studies"):
            found[SHARED][{"artifacts": "MLflow's artifacts", "mlflow.db": "MLflow's store"}.get(top, top)] += size
    return {study: dict(kinds) for study, kinds in sorted(found.items())}


def find_garbage(home: Home, best: int) -> Iterator[Garbage]:
    """Find all files that can be deleted.

    These are checkpoints of runs that have ended; weights, including MLflow's artifact copies, of trials that are not
    complete or not among the `best` ones of their study; and packs of data that have changed since. Unfinished studies
    and runs that are tagged `dmx.keep`, registered as models or named as the `start` of others keep everything. Runs of
    `train-best` and single runs keep their weights.
    """
    kept = {*pinned(home), *started_from(home)}
    studies = home.studies_with(STUDY)
    ended = {study for study in studies if has_ended(home, study)}
    for study in [*studies, None]:
        if study is not None and study not in ended:
            continue
        entries = (
            [entry for role in ("trial", "best") for entry in results(home, study, role)] if study else results(home)
        )
        chosen = {entry.run for entry in ranked_trials(home, study)[:best]} if study else set()
        for entry in entries:
            if entry.run not in kept:
                yield from run_garbage(home, entry, study, chosen, best)
    yield from stale_packs(home)


def run_garbage(home: Home, entry: Entry, study: str | None, chosen: set[str], best: int) -> Iterator[Garbage]:
    """The garbage of a run."""
    folder, outcome, name = home.run(entry.run), entry.result.outcome, study or SINGLE
    if study is not None or outcome not in (Outcome.CRASHED, Outcome.OUT_OF_MEMORY):  # these resume from the checkpoint
        checkpoint = folder / CHECKPOINT
        if checkpoint.is_file():
            yield Garbage(checkpoint, entry.run, name, "checkpoint", "the run has ended")
    if entry.record["tags"].get("dmx.role") == "trial" and entry.run not in chosen:
        why = f"not among the best {best}" if outcome is Outcome.COMPLETE else str(outcome)
        for path in (folder / BEST_WEIGHTS, *artifact_copies(home, entry.run, BEST_WEIGHTS)):
            if path.is_file():
                yield Garbage(path, entry.run, name, "weights", why)


def started_from(home: Home) -> set[str]:
    """The runs that a run or a study names as its `start`, by their names or by a file of theirs.

    A study names them in its experiment, in what it searches, and in its queue.
    """
    named = [read_yaml(path).get("start") for path in home.runs.glob(f"*/{CONFIG}")]
    for path in home.studies.glob(f"*/{STUDY}"):
        study = read_yaml(path)
        queue = study.get("queue") or ()
        for places in (study.get("experiment"), study.get("search"), *(queue if isinstance(queue, list) else ())):
            start = places.get("start") if isinstance(places, dict) else None
            named += start if isinstance(start, list) else [start]
    return {run_of(home, start) for start in named if isinstance(start, str)}


def run_of(home: Home, start: str) -> str:
    """The run that a `start` names; the text itself if it is no file of a run."""
    runs, path = home.runs.resolve(), place(start).resolve()
    return path.relative_to(runs).parts[0] if path.is_relative_to(runs) and path != runs else start


def stale_packs(home: Home) -> Iterator[Garbage]:
    """Packs of data that have changed since."""
    known: set[str] = set()
    for path in home.runs.glob(f"*/{CONFIG}"):
        data = read_yaml(path).get("data")
        if isinstance(data, dict) and isinstance(data.get("root"), str):
            known.add(data["root"])
    now = set()
    for root in known:
        try:
            index = read(place(root))
            now.add(f"{index.fingerprint()[:16]}-{index.stamp[:8]}")
        except UserError:  # the data set was removed, or is not on this machine
            continue
    for folder in sorted(home.packs.glob("*/")):
        if "-".join(folder.name.split("-")[:2]) not in now:
            yield Garbage(folder, "", SHARED, "pack", "its data have changed or are gone")


def remove(home: Home, garbage: list[Garbage]) -> int:
    """Delete garbage, except files of runs that are being written.

    Returns:
        The number of bytes freed.
    """
    freed = 0
    for one, size in [(one, size_of(one.path)) for one in garbage]:  # sizes first: fewer links change them
        if one.run:
            try:
                lock = take_lock(home.run(one.run), one.run, patience=0.0)
            except UserError:
                continue
            lock.release()
        if one.path.is_dir():
            shutil.rmtree(one.path)
            one.path.with_suffix(".lock").unlink(missing_ok=True)
        else:
            one.path.unlink(missing_ok=True)
        freed += size
    return freed


def has_ended(home: Home, study: str) -> bool:
    """Whether all trials of a study have finished; False if the trials are in a database."""
    try:
        config, queue = load_trials(home, study, None)
    except UserError:
        return False
    return queue.finished() >= config.trials


def ranked_trials(home: Home, study: str) -> list[Entry]:
    """The complete trials of a study, best first."""
    goals, trials = load_config(home, study).goals, results(home, study)
    try:
        ordered = rank(trials) if len(goals) < 2 else rank_runs(trials, goals)[0]
    except UserError:  # the trials cannot be compared, so there is no ranking
        ordered = trials
    return [entry for entry in ordered if entry.result.outcome is Outcome.COMPLETE]


def study_of(folder: Path) -> str:
    """The study that a run's folder names, if any."""
    found = read_result(folder)
    if found is not None:
        return str(found[1]["tags"].get("dmx.study") or SINGLE)
    if (folder / EXTERNAL).is_file():
        return OTHERS
    studies = folder.parent.parent / "studies"
    owners = [path.name for path in studies.glob("*/") if folder.name.startswith(f"{path.name}-")]
    return max(owners, key=len, default=SINGLE)


def kind_of(path: Path) -> str:
    """The kind of a file."""
    return next(kind for kind, fits in KINDS.items() if fits(path))


def files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every file under a folder with its bytes."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path, own_size(path)


def own_size(path: Path) -> int:
    """The size of a file divided by its number of hard links: MLflow's copy is a hard link to it."""
    found = path.stat()
    return found.st_size // found.st_nlink


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files under a folder."""
    return sum(size for _, size in files(path)) if path.is_dir() else own_size(path) if path.exists() else 0


def by_reason(garbage: list[Garbage]) -> Mapping[tuple[str, str, str], tuple[int, int]]:
    """The number of files and bytes by (study, what, why)."""
    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for one in garbage:
        key = (one.study, one.what, one.why)
        count, size = found.get(key, (0, 0))
        found[key] = (count + 1, size + size_of(one.path))
    return found
