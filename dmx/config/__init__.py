"""Read, merge, override and validate whole configurations, before any data are read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dmx.config.base import problems_of
from dmx.config.experiment import ExperimentConfig, Stage
from dmx.config.objective import Objective
from dmx.config.reading import override, read_yaml
from dmx.config.study import StudyConfig
from dmx.errors import ConfigError, UserError
from dmx.registry import load

__all__ = [
    "ExperimentConfig",
    "Objective",
    "Stage",
    "StudyConfig",
    "load_experiment",
    "load_study",
    "parse_experiment",
    "parse_study",
]

M = TypeVar("M", bound=BaseModel)


def load_experiment(path: Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Read and validate an experiment's YAML.

    Raises:
        UserError: The file cannot be read.
        ConfigError: It has problems; all are reported.
    """
    data = override(read_yaml(path), overrides)
    if "experiment" in data and "search" in data:
        raise UserError(f"{path} is a study; run it with `dmx sweep {path}`.")
    return parse_experiment(data, str(path))


def load_study(path: Path, overrides: Iterable[str] = ()) -> StudyConfig:
    """Read and validate a study's YAML; raises as `load_experiment`."""
    data = override(read_yaml(path), overrides)
    if "experiment" not in data and "model" in data:
        raise UserError(f"{path} is an experiment; run it with `dmx train {path}`.")
    return parse_study(data, str(path))


def parse_experiment(data: dict[str, Any], source: str) -> ExperimentConfig:
    """Validate plain data as an experiment; `source` says in errors where the data came from."""
    load(_plugins(data))
    return _parse(ExperimentConfig, data, source)


def parse_study(data: dict[str, Any], source: str) -> StudyConfig:
    """Validate plain data as a study; `source` says in errors where the data came from."""
    experiment = data.get("experiment")
    if isinstance(experiment, dict):
        experiment.setdefault("name", data.get("name"))
        load(_plugins(experiment))
    else:
        load()
    return _parse(StudyConfig, data, source)


def _plugins(data: dict[str, Any]) -> list[str]:
    plugins = data.get("plugins") or []
    return [item for item in plugins if isinstance(item, str)] if isinstance(plugins, list | tuple) else []


def _parse(model: type[M], data: dict[str, Any], source: str) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(source, problems_of(error)) from None
