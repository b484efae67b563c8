"""A run's network with its best weights, ready for inference."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, TypeAdapter

from dmx.config import ExperimentConfig, parse_experiment
from dmx.data.layout import read
from dmx.errors import UserError, did_you_mean
from dmx.models.calibrated import Calibrated
from dmx.models.joint import DepthMaskModel, make_link
from dmx.outcome import Outcome
from dmx.quartet import DepthSpec
from dmx.results.records import kept_yaml, read_result
from dmx.stored import intact, read_json, read_mapping
from dmx.tracking.home import BEST_WEIGHTS, CALIBRATIONS, CONFIG, DEPTH, ENVIRONMENT, Home
from dmx.training.autotune import native_bfloat16
from dmx.training.checkpoint import load_weights
from dmx.training.device import DTYPES, DeviceConfig, resolve_device
from dmx.written import place

UNTRAINED = {"weights": "none", "checkpoint": "none"}
"""Parameters of a model that is to begin with no weights of others."""


@dataclass(frozen=True)
class Trained:
    """A run's network.

    Attributes:
        run: The run.
        config: Its configuration.
        spec: The kind, range and direction of its depth.
        model: The network on its device, with the best weights.
        device_config: The resolved device settings.
        calibration: The name of its calibration for another camera; empty if there is none.
    """

    run: str
    config: ExperimentConfig
    spec: DepthSpec
    model: DepthMaskModel
    device_config: DeviceConfig
    calibration: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the last training stage."""
        return self.config.stages[-1].height_width


@dataclass(frozen=True)
class Calibration:
    """d' = scale d^power, from the network's depth d in metres to that of another camera."""

    scale: Annotated[float, Field(gt=0)]
    power: Annotated[float, Field(gt=0)]


def calibration_path(home: Home, run: str, name: str) -> Path:
    """The file of a run's calibration."""
    return home.run(run) / CALIBRATIONS / f"{name}.json"


def calibration_of(home: Home, run: str, name: str) -> Calibration:
    """A run's calibration by its name.

    Raises:
        UserError: There is none of this name.
    """
    path = calibration_path(home, run, name)
    if Path(name).name != name or not path.is_file():
        known = sorted(one.stem for one in path.parent.glob("*.json"))
        raise UserError(
            f"run {run} has no calibration '{name}'; "
            f"{did_you_mean(name, known) if known else f'`dmx calibrate {run} DATA` makes one'}."
        )
    advice = f"remove it, and make it anew by `dmx calibrate {run} DATA`."
    found = read_mapping(path, advice, "scale", "power")
    with intact(path, advice):
        return TypeAdapter(Calibration).validate_python({name: found[name] for name in ("scale", "power")})


def trained(home: Home, run: str, calibration: str | None = None) -> Trained:
    """Load the network of a run.

    Args:
        home: The results folder.
        run: The run.
        calibration: The name of one of its calibrations, if its depth is to be that of another camera.

    Raises:
        UserError: There is no such run or calibration, or its weights were removed.
    """
    config = config_of(home, run)
    path = best_weights(home, run)
    spec = spec_of(home.run(run), config)
    net = config.model.bind()()
    model = DepthMaskModel(net, make_link(config.depth_link, spec, net))
    load_weights(path, model)
    settings = config.training
    device_config = resolve_device(settings.device, settings.precision, settings.channels_last, compile=False, flops=0)
    before = begun(home.run(run))
    if settings.precision == "auto" and before and before.dtype == torch.bfloat16 and native_bfloat16():
        device_config = replace(device_config, dtype=torch.bfloat16)  # as in its validation
    if calibration is not None:
        found = calibration_of(home, run, calibration)
        model.link = Calibrated(model.link, found.scale, found.power)
    placed = device_config.place(model)
    return Trained(run, config, spec, placed.eval(), device_config, calibration or "")


def config_of(home: Home, run: str) -> ExperimentConfig:
    """The configuration of a run for loading its trained weights.

    Raises:
        UserError: There is no such run.
    """
    path = home.run(run) / CONFIG
    if not path.is_file():
        raise home.no_run(run)
    return without_beginning(path)


def without_beginning(path: Path) -> ExperimentConfig:
    """A run's configuration without its initial weights, which are not needed to load its trained ones."""
    data = kept_yaml(path)
    if isinstance(data.get("model"), dict):
        data["model"] |= {name: value for name, value in UNTRAINED.items() if name in data["model"]}
    return parse_experiment({**data, "start": None}, str(path))


def best_weights(home: Home, run: str) -> Path:
    """The path of the weights of a run's best epoch.

    Raises:
        UserError: The file is missing; the message says why, if the run's record does, and what to do.
    """
    path = home.run(run) / BEST_WEIGHTS
    if path.is_file():
        return path
    found = read_result(home.run(run))
    if found is not None and found[0].outcome is Outcome.PRUNED:
        raise UserError(
            f"run {run} has no weights: it was pruned, and a pruned trial keeps none but with `training.keep: all`; "
            f"name a complete one, or train it whole with `dmx train {home.run(run) / CONFIG}`."
        )
    raise UserError(
        f"{path} is not there: the run has no best epoch yet, was answered from another one's record, or its weights "
        f"were removed, by `dmx gc` or by hand; name another run, or remove {home.run(run)} and start its command "
        "again, which trains it once more."
    )


def spec_of(folder: Path, config: ExperimentConfig) -> DepthSpec:
    """The run's depth spec: from its own file, or from its data set for older runs without that file."""
    path = folder / DEPTH
    if not path.is_file():
        return read(place(config.data.root)).depth
    with intact(path, f"restore it from a copy, or remove {folder} and train the run again."):
        return TypeAdapter(DepthSpec).validate_python(read_json(path, ""))


def spec_text(spec: DepthSpec) -> str:
    """The content of the depth spec file."""
    return json.dumps(asdict(spec))


def begun(folder: Path) -> DeviceConfig | None:
    """The settings with which the run in `folder` started; None before its start."""
    path = folder / ENVIRONMENT
    if not path.is_file():
        return None
    advice = f"restore it from a copy, or remove {folder}, and the same command trains the run again."
    with intact(path, advice):
        facts = read_mapping(path, advice, "execution")["execution"]
        return DeviceConfig(
            device=torch.device(facts["device"]),
            dtype=DTYPES[facts["precision"]],
            memory_format=torch.channels_last if facts["channels_last"] == "true" else torch.contiguous_format,
            compile=facts["compile"] == "true",
            refused=str(facts.get("precision_refused", "")),
            measured=str(facts.get("measured", "")),
        )
