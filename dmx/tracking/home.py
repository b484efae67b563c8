"""Where runs and studies write: one folder, `mlruns/` unless told otherwise."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

RESULT = "result.json"
"""In a run's folder: what it came to; written last."""


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

    def run(self, run_id: str) -> Path:
        """The folder of a run."""
        return self.root / "runs" / run_id

    def tensorboard(self, run_id: str) -> Path:
        """The TensorBoard folder of a run."""
        return self.root / "tensorboard" / run_id

    def study(self, name: str) -> Path:
        """The folder of a study."""
        return self.root / "studies" / name


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
