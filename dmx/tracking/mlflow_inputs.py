"""The data of a run as inputs of MLflow's own data set API."""

import json
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

OWN = ("name", "digest", "root", "context")
LONGEST_NAME = 500
"""Characters that MLflow takes."""


def dataset_input(given: Mapping[str, str]) -> "DatasetInput":
    """A part of a data set as MLflow wants it.

    Args:
        given: `name`, `digest`, `root`, `context` (training, validation or test); the rest is its profile.
    """
    from mlflow.data.dataset import Dataset
    from mlflow.data.dataset_source_registry import resolve_dataset_source
    from mlflow.entities import DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    class Part(Dataset):
        """A part of a data set that lies in a folder."""

        schema = None
        profile = {key: value for key, value in given.items() if key not in OWN}  # noqa: RUF012  # of this one part

        def _compute_digest(self) -> str:
            return given["digest"]

        def to_dict(self) -> dict[str, str]:
            """What MLflow stores."""
            return {**super().to_dict(), "profile": json.dumps(self.profile)}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a folder is a folder, however many classes of MLflow take it
        source = resolve_dataset_source(given["root"])
    part = Part(source, given["name"][:LONGEST_NAME])
    return DatasetInput(part._to_mlflow_entity(), [InputTag(MLFLOW_DATASET_CONTEXT, given["context"])])
