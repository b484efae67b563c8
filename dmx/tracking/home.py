"""The results folder (by default `mlruns/`) and the names of the files of runs and studies in it."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dmx.errors import UserError, did_you_mean

# In the folder of a run.
JOURNAL = "journal.jsonl"
"""The run's journal of events; see `dmx.tracking.journal`."""
CONFIG = "config.yaml"
"""Its configuration, complete."""
IDENTITY = "identity.json"
"""The identity of its data, split and metrics; in a study's folder, that of all its trials."""
SPLIT = "split.json"
"""Which samples are for training, validation and test."""
ENVIRONMENT = "environment.json"
"""Versions, machine and device."""
DEFINITIONS = "metrics.json"
"""What each metric means."""
NORMALISATION = "normalisation.json"
"""Mean and standard deviation for the normalisation of colours; also stored with the weights."""
DEPTH = "depth.json"
"""The depth spec of the run's predictions: kind, range and direction."""
DIFF = "git.diff"
"""The diff of the code from its commit."""
CHECKPOINT = "checkpoint.pt"
"""The checkpoint with the resumable state."""
BEST_WEIGHTS = "best.safetensors"
"""The weights of its best epoch."""
BEST_SAMPLES = "val_samples.parquet"
"""The metric sums of each validation sample at its best epoch."""
RESULT = "result.json"
"""Its result, written last."""
CRASH = "crash.txt"
"""The traceback of a run that crashed."""
EVALUATIONS = "evaluations"
"""The folder of its evaluations, with a subfolder for each."""
EVALUATION, EVALUATION_SAMPLES, EVALUATION_PAGE = "evaluation.json", "samples.parquet", "evaluation.html"
"""In the folder of an evaluation: its record (written last), the metric sums of each sample, and its HTML page."""
BENCHMARKS = "benchmarks"
"""The folder of what `dmx bench` measured, a file for each time."""
CALIBRATIONS = "calibrations"
"""The folder of its calibrations for other cameras, a file for each."""
EXTERNAL = "external.json"
"""In place of a configuration, in the folder of a network of others: its file, digest and settings."""

# In the folder of references.
REFERENCES = "references.json"
"""What the references know and their values on validation, written last; beside it their maps and sample tables."""

# In the folder of a study.
STUDY = "study.yaml"
"""Its configuration, complete."""
OPTUNA_JOURNAL = "optuna.journal"
"""Optuna's journal of its trials, unless they are in a database."""
STORAGE = "storage.txt"
"""The database of its trials."""
CHAMPION = "best.json"
"""The run that `train-best` chose, with its metrics on test."""
CHAMPION_PICTURE = "champion.png"
"""Validation samples as the first trial and as the champion see them."""
REPORT = "report.html"
"""Its HTML page, written by `dmx report`."""

NEAR = 3
"""The greatest number of runs to propose in place of one that is not there."""


class PathInHome:
    """A path in the results folder, as an attribute of `Home`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, home: "Home", owner: type) -> Path:
        return home.root / self.name


@dataclass(frozen=True)
class Home:
    """The paths in the results folder; files and folders are created when needed."""

    root: Path

    devices = PathInHome("devices")
    """How fast networks train on this machine's processor, a file for each."""
    mlflow_db = PathInHome("mlflow.db")
    """MLflow's SQLite store."""
    artifacts = PathInHome("artifacts")
    """MLflow's artifact folder."""
    packs = PathInHome("packs")
    """The packs that runs share, by the data's fingerprint and size."""
    references = PathInHome("references")
    """The references of data sets, a folder for each data, split, size and definitions of metrics."""
    reproductions = PathInHome("reproductions")
    """The folder with a results folder for each reproduction of a run."""
    runs = PathInHome("runs")
    """The folder with a folder for each run."""
    studies = PathInHome("studies")
    """The folder with a folder for each study."""
    tensorboards = PathInHome("tensorboard")
    """The folder with a TensorBoard folder for each run."""

    @property
    def mlflow_uri(self) -> str:
        """The tracking address of MLflow's store."""
        return sqlite_uri(self.mlflow_db.resolve())

    def run(self, run_id: str) -> Path:
        """The folder of a run."""
        return self.runs / run_id

    def tensorboard(self, run_id: str) -> Path:
        """The TensorBoard folder of a run."""
        return self.tensorboards / run_id

    def study(self, name: str) -> Path:
        """The folder of a study."""
        return self.studies / name

    def runs_with(self, *files: str) -> list[str]:
        """The names of the runs that have one of these files, in order."""
        return sorted({path.parent.name for file in files for path in self.runs.glob(f"*/{file}")})

    def no_run(self, run: str) -> UserError:
        """The error for a run that is not there, with the names that are near to it."""
        return UserError(f"there is no run '{run}' in {self.root}; {did_you_mean(run, self.runs_with(CONFIG), NEAR)}")

    def studies_with(self, file: str) -> list[str]:
        """The names of the studies that have this file, in order."""
        return sorted(path.parent.name for path in self.studies.glob(f"*/{file}"))


def sqlite_uri(path: Path, detour: str = "") -> str:
    """The address of a SQLite file as MLflow and SQLAlchemy read it.

    SQLAlchemy parses what follows a `?` as options, and from 2.1 on decodes percent escapes. For a path with `?` or
    `%`, the URL also names the driver, because after a plain `sqlite:///` MLflow would create folders for the encoded
    path. A `detour` before the file's name, such as `./`, gives another URL of the same file.

    >>> sqlite_uri(Path("/my runs/mlflow.db"))
    'sqlite:////my runs/mlflow.db'
    """
    text = f"{path.parent.as_posix()}/{detour}{path.name}"
    if not set(text) & {"?", "%"}:
        return f"sqlite:///{text}"
    from sqlalchemy import make_url

    if make_url("sqlite:///%25").database == "%":
        return "sqlite+pysqlite:///" + text.replace("%", "%25").replace("?", "%3F")
    return f"sqlite+pysqlite:///file:{quote(text)}?uri=true"  # decoded by SQLite
