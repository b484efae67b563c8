"""The record of a run before step 0: its configuration, its data, and the machine."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dmx.config.experiment import flatten
from dmx.errors import DataError
from dmx.experiment.initial_weights import check_weights
from dmx.experiment.prepare import Checked, Prepared
from dmx.experiment.trained import spec_text
from dmx.registry.ranges import Scalar
from dmx.stored import read_mapping
from dmx.tracking import RunStart
from dmx.tracking.environment import facts, git_state
from dmx.tracking.home import CONFIG, DEFINITIONS, DEPTH, DIFF, ENVIRONMENT, IDENTITY, NORMALISATION, SPLIT
from dmx.tracking.secrets import without_secrets

WEIGHTS = "weights"
"""The key of an identity with the SHA-256 of the files that the network began with; absent if there are none."""


@dataclass(frozen=True)
class Tracking:
    """How a run is tracked.

    Attributes:
        experiment: The MLflow experiment.
        tags: Tags for finding the run.
        searched: The parameters that a study varies, under the study's names.
        stores: Whether to log to MLflow and TensorBoard in addition to the journal.
    """

    experiment: str
    tags: Mapping[str, str] = field(default_factory=dict)
    searched: Mapping[str, Scalar] = field(default_factory=dict)
    stores: bool = True

    @property
    def is_trial(self) -> bool:
        """Whether the run is a trial of a study."""
        return self.tags.get("dmx.role") == "trial"


def start_of(prepared: Prepared, run_id: str, tracking: Tracking) -> RunStart:
    """Everything that must be recorded before step 0."""
    config = prepared.config
    commit, diff = git_state(Path.cwd())
    device_config = prepared.device_config
    measured = {"measured": device_config.measured} if device_config.measured else {}
    environment = {**facts(), "execution": {**device_config.facts(), **measured}}
    identity = {
        "dmx.fingerprint": config.fingerprint,
        "dmx.data": prepared.data_fingerprint[:16],
        "dmx.split": prepared.split.fingerprint[:16],
        **{f"dmx.{where}": digest[:16] for where, digest in prepared.weights.items()},
        **({"mlflow.source.git.commit": commit} if commit else {}),
    }
    return RunStart(
        experiment=tracking.experiment,
        name=run_id,
        tags={**identity, **tracking.tags},
        params={**flatten(config), **costs(prepared), **device_config.facts()},
        files={
            IDENTITY: json.dumps(identity_of(prepared), indent=1),
            CONFIG: yaml.safe_dump(config.dump(), sort_keys=False),
            SPLIT: prepared.split.to_json(),
            ENVIRONMENT: json.dumps(environment, indent=1),
            DEFINITIONS: json.dumps(prepared.definitions, indent=1),
            NORMALISATION: json.dumps(normalisation_of(prepared), indent=1),
            DEPTH: spec_text(prepared.index.depth),
            **({DIFF: without_secrets(diff)} if diff else {}),
        },
        searched=tracking.searched,
        inputs=[*inputs_of(prepared)],
    )


def normalisation_of(prepared: Checked) -> dict[str, Any]:
    """Mean and standard deviation of red, green and blue in [0, 1], and their origin."""
    data = prepared.config.data.normalisation == "data"
    whose = f"{len(prepared.split.train)} training samples of {prepared.index.name}" if data else "the model's own"
    model = prepared.model
    return {"of": whose, "mean": model.mean.flatten().tolist(), "std": model.std.flatten().tolist()}


def inputs_of(prepared: Prepared) -> Iterator[dict[str, str]]:
    """The parts of the data set as MLflow data set inputs; the digest covers data and samples."""
    index, parts = prepared.index, prepared.split
    for part, context in (("train", "training"), ("val", "validation"), ("test", "test")):
        ids: tuple[str, ...] = getattr(parts, part)
        if ids:
            text = "\0".join((prepared.data_fingerprint, *ids))
            yield {
                "name": f"{index.name} {part}",
                "digest": hashlib.sha256(text.encode()).hexdigest()[:16],
                "root": str(index.root),
                "context": context,
                "samples": str(len(ids)),
                "depth": index.depth.kind,
            }


def costs(prepared: Prepared) -> dict[str, float]:
    """The network's costs: those always computed, and the measured ones that were requested."""
    return {"parameters": prepared.parameters, "multiply_adds": prepared.multiply_adds, **prepared.measured}


def identity_of(prepared: Checked) -> dict[str, Any]:
    """What must be equal for values to be comparable: data, split, validation size and definitions of the metrics.

    For a run to be continued, files of weights that it began with must be the same, too.
    """
    return {
        "data": prepared.data_fingerprint,
        "split": prepared.split.fingerprint,
        "size": list(prepared.config.stages[-1].height_width),
        "definitions": prepared.definitions,
        **({WEIGHTS: dict(prepared.weights)} if prepared.weights else {}),
    }


def check_identity(path: Path, prepared: Checked, who: str) -> None:
    """Check that a run or study is resumed with the data and the files of weights that it started with.

    Raises:
        DataError: Weights, data, split, size or metrics differ from those stored at `path`.
    """
    if path.is_file():
        check_equal(read_identity(path), identity_of(prepared), who, prepared.index.root)


def read_identity(path: Path) -> dict[str, Any]:
    """Load the stored `identity_of` of a run or study.

    Raises:
        UserError: The file is damaged.
    """
    return read_mapping(path, f"restore it from a copy, or remove {path.parent} to begin anew.", "data")


def same(key: str, before: Any, now: Any) -> bool:
    """Whether one fact of two identities is equal; a metric that only one of them defines makes no difference."""
    if key == "definitions" and isinstance(before, dict):
        return all(before.get(metric, definition) == definition for metric, definition in now.items())
    return bool(before == now)


def check_equal(before: Mapping[str, Any], now: Mapping[str, Any], who: str, root: Path) -> None:
    """Check that two identities are equal.

    Raises:
        DataError: They differ.
    """
    check_weights(before.get(WEIGHTS, {}), now.get(WEIGHTS, {}), who)
    keys = [key for key in now if key != WEIGHTS and not same(key, before.get(key), now[key])]
    changed = ["metrics" if key == "definitions" else key for key in keys]
    if changed:
        raise DataError(
            f"{who} was started with other {' and '.join(changed)} than {root} gives now; going on would mix what it "
            "was trained and evaluated on. Restore the data, or use another `name`."
        )
