"""Where runs and studies write, and what their files are called: one folder, by default `mlruns/`."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

# In the folder of a run.
JOURNAL = "journal.jsonl"
"""All that happened in the run; see `dmx.tracking.journal`."""
CONFIG = "config.yaml"
"""Its configuration, complete."""
IDENTITY = "identity.json"
"""On what it is measured: data, split, metrics. In a study's folder: on what all of its trials are."""
SPLIT = "split.json"
"""Which samples are for training, validation and test."""
ENVIRONMENT = "environment.json"
"""Versions, machine and device."""
DEFINITIONS = "metrics.json"
"""What each metric means."""
NORMALISATION = "normalisation.json"
"""Mean and deviation by which colours are normalised; the weights hold the same numbers."""
DEPTH = "depth.json"
"""How the depth that the run learned is to be read."""
DIFF = "git.diff"
"""What the code differs in from its commit."""
CHECKPOINT = "checkpoint.pt"
"""The state from which it goes on."""
BEST_WEIGHTS = "best.safetensors"
"""The weights of its best epoch."""
BEST_SAMPLES = "val_samples.parquet"
"""Its validation samples at its best epoch, with the sums of every metric."""
RESULT = "result.json"
"""How it ended, written last."""
CRASH = "crash.txt"
"""The traceback of a run that crashed."""
EVALUATIONS = "evaluations"
"""The folder of its evaluations; each has a folder of its own there."""
EVALUATION, EVALUATION_SAMPLES, EVALUATION_PAGE = "evaluation.json", "samples.parquet", "evaluation.html"
"""In the folder of an evaluation: its record, written last, its samples with the sums of every metric, and its page."""

# In the folder of a study.
STUDY = "study.yaml"
"""Its configuration, complete."""
OPTUNA_JOURNAL = "optuna.journal"
"""Optuna's journal of its trials, where these are in no database."""
STORAGE = "storage.txt"
"""In which database its trials are."""
CHAMPION = "best.json"
"""What `train-best` chose, and what that came to on test."""
REPORT = "report.html"
"""Its page, by `dmx report`."""


@dataclass(frozen=True)
class Home:
    """The paths under the folder of results; nothing is made until it is needed."""

    root: Path

    @property
    def mlflow_db(self) -> Path:
        """MLflow's SQLite store."""
        return self.root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """MLflow's artifact folder."""
        return self.root / "artifacts"

    @property
    def mlflow_uri(self) -> str:
        """The tracking address of MLflow's store."""
        return sqlite_uri(self.mlflow_db.resolve())

    @property
    def packs(self) -> Path:
        """The packs that runs share, by the data's fingerprint and size."""
        return self.root / "packs"

    @property
    def runs(self) -> Path:
        """The folder with a folder for each run."""
        return self.root / "runs"

    @property
    def studies(self) -> Path:
        """The folder with a folder for each study."""
        return self.root / "studies"

    @property
    def tensorboards(self) -> Path:
        """The folder with a TensorBoard folder for each run."""
        return self.root / "tensorboard"

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

    def studies_with(self, file: str) -> list[str]:
        """The names of the studies that have this file, in order."""
        return sorted(path.parent.name for path in self.studies.glob(f"*/{file}"))


def sqlite_uri(path: Path, detour: str = "") -> str:
    """The address of a SQLite file as MLflow and SQLAlchemy read it.

    SQLAlchemy takes what follows a `?` for options, and from 2.1 on decodes `%20` and the like. Where one stands in the
    path, the address names the driver, too: after `sqlite:///` MLflow would make folders for the path as it is written.

    Args:
        path: The file's absolute path.
        detour: Put before its name: another address of the same file.

    >>> sqlite_uri(Path("/my runs/mlflow.db"))
    'sqlite:////my runs/mlflow.db'
    """
    text = f"{path.parent.as_posix()}/{detour}{path.name}"
    if not set(text) & {"?", "%"}:
        return f"sqlite:///{text}"
    from sqlalchemy import make_url

    if make_url("sqlite:///%25").database == "%":
        return "sqlite+pysqlite:///" + text.replace("%", "%25").replace("?", "%3F")
    return f"sqlite+pysqlite:///file:{quote(text)}?uri=true"  # which SQLite decodes
