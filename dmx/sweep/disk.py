"""What takes room on the disk, and what of it nobody needs."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dmx.data.layout import read
from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.results.ranking import Entry, rank, results
from dmx.results.records import read_result
from dmx.sweep.judging import rank_several
from dmx.sweep.stored import STUDY, stored_study, stored_trials
from dmx.tracking.home import Home
from dmx.tracking.kept import copies, kept
from dmx.tracking.run import take_lock
from dmx.training.trainer import BEST_WEIGHTS, CHECKPOINT
from dmx.written import place, read_yaml

SINGLE, SHARED = "(single runs)", "(shared)"
KINDS: dict[str, Callable[[Path], bool]] = {
    "checkpoints": lambda path: path.name == CHECKPOINT,
    "weights": lambda path: path.suffix == ".safetensors",
    "pictures": lambda path: path.suffix in (".png", ".webp"),
    "journals": lambda path: path.suffix in (".jsonl", ".journal"),
    "other": lambda path: True,
}


@dataclass(frozen=True)
class Spare:
    """A file or folder that nobody needs.

    Attributes:
        path: Where it is.
        run: The run that has it; none for what runs share.
        study: The study of the run.
        what: What it is.
        why: Why nobody needs it.
    """

    path: Path
    run: str
    study: str
    what: str
    why: str


def room(home: Home) -> dict[str, dict[str, int]]:
    """Bytes by study and by kind of file; links are not followed."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for folder in (home.root / "runs").glob("*/"):
        study = study_of(folder)
        for path, size in files(folder):
            found[study][kind_of(path)] += size
    for folder in (home.root / "studies").glob("*/"):
        for path, size in files(folder):
            found[folder.name][kind_of(path)] += size
    for path, size in files(home.root):
        top = path.relative_to(home.root).parts[0]
        if top not in ("runs", "studies"):
            found[SHARED][{"artifacts": "MLflow's artifacts", "mlflow.db": "MLflow's store"}.get(top, top)] += size
    return {study: dict(kinds) for study, kinds in sorted(found.items())}


def spare(home: Home, best: int) -> Iterator[Spare]:
    """All that nobody needs.

    Checkpoints of runs that have ended; weights of trials that are not complete, or not among the `best` ones of their
    study, in MLflow's own artifact folder, too; packs of data that have changed since. Studies that have not ended keep
    everything, and so do runs that are tagged `dmx.keep` or registered as models. Runs of `train-best` and single runs
    keep their weights.

    Args:
        home: Where results are.
        best: How many of the best trials of each study keep their weights.
    """
    told = kept(home)
    studies = [path.parent.name for path in sorted((home.root / "studies").glob(f"*/{STUDY}"))]
    ended = {study for study in studies if has_ended(home, study)}
    for study in [*studies, None]:
        if study is not None and study not in ended:
            continue
        entries = (
            [entry for role in ("trial", "best") for entry in results(home, study, role)] if study else results(home)
        )
        chosen = {entry.run for entry in ranked(home, study)[:best]} if study else set()
        for entry in entries:
            if entry.run not in told:
                yield from of_run(home, entry, study, chosen, best)
    yield from packs(home)


def of_run(home: Home, entry: Entry, study: str | None, chosen: set[str], best: int) -> Iterator[Spare]:
    """What a run has that nobody needs."""
    folder, outcome, name = home.run(entry.run), entry.result.outcome, study or SINGLE
    if study is not None or outcome not in (Outcome.CRASHED, Outcome.OUT_OF_MEMORY):  # which go on from there
        checkpoint = folder / CHECKPOINT
        if checkpoint.is_file():
            yield Spare(checkpoint, entry.run, name, "checkpoint", "the run has ended")
    if entry.record["tags"].get("dmx.role") == "trial" and entry.run not in chosen:
        why = f"not among the best {best}" if outcome is Outcome.COMPLETE else str(outcome)
        for path in (folder / BEST_WEIGHTS, *copies(home, entry.run, BEST_WEIGHTS)):
            if path.is_file():
                yield Spare(path, entry.run, name, "weights", why)


def packs(home: Home) -> Iterator[Spare]:
    """Packs that were made of data as they are not any more."""
    known: set[str] = set()
    for path in (home.root / "runs").glob("*/config.yaml"):
        data = read_yaml(path).get("data")
        if isinstance(data, dict) and isinstance(data.get("root"), str):
            known.add(data["root"])
    now = set()
    for root in known:
        try:
            index = read(place(root))
            now.add(f"{index.fingerprint()[:16]}-{index.stamp[:8]}")
        except UserError:  # gone, or not here
            continue
    for folder in sorted(home.packs.glob("*/")):
        if "-".join(folder.name.split("-")[:2]) not in now:
            yield Spare(folder, "", SHARED, "pack", "its data have changed or are gone")


def remove(home: Home, spares: list[Spare]) -> int:
    """Remove what is spare; gives the bytes. What belongs to a run that is being written stays."""
    freed = 0
    for one, size in [(one, size_of(one.path)) for one in spares]:  # before: with one name gone the other weighs twice
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
    """Whether a study has all its trials; one whose trials are in a database elsewhere is not known to."""
    try:
        config, claims = stored_trials(home, study, None)
    except UserError:
        return False
    return claims.finished() >= config.trials


def ranked(home: Home, study: str) -> list[Entry]:
    """The complete trials of a study, best first."""
    goals, trials = stored_study(home, study).goals, results(home, study)
    try:
        ordered = rank(trials) if len(goals) < 2 else rank_several(trials, goals)[0]
    except UserError:  # they cannot be compared: none is better than another
        ordered = trials
    return [entry for entry in ordered if entry.result.outcome is Outcome.COMPLETE]


def study_of(folder: Path) -> str:
    """The study that a run's folder belongs to, as far as it says."""
    found = read_result(folder)
    if found is not None:
        return str(found[1]["tags"].get("dmx.study") or SINGLE)
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
            yield path, share(path)


def share(path: Path) -> int:
    """The bytes of a file, as far as they are its own: MLflow's copy of a file is a second name of it."""
    found = path.stat()
    return found.st_size // found.st_nlink


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files under a folder."""
    return sum(size for _, size in files(path)) if path.is_dir() else share(path) if path.exists() else 0


def by_reason(spares: list[Spare]) -> Mapping[tuple[str, str, str], tuple[int, int]]:
    """How many files of how many bytes, by study, what they are, and why."""
    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for one in spares:
        key = (one.study, one.what, one.why)
        count, size = found.get(key, (0, 0))
        found[key] = (count + 1, size + size_of(one.path))
    return found
