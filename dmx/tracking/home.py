"""Where runs and studies write: one folder, `mlruns/` unless told otherwise."""

from dataclasses import dataclass
from pathlib import Path


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
        return f"sqlite:///{self.mlflow_db.resolve()}"

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
