"""What a network begins with: the weights of another run, or of files, which are part of a run's identity."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dmx.config import ExperimentConfig
from dmx.errors import ConfigError, DataError, Problem, UserError, did_you_mean
from dmx.experiment.trained import UNTRAINED, best_weights
from dmx.models.joint import JointNet
from dmx.models.weights import compare, file_of, is_path, read_state, shapes_of, without_prefixes
from dmx.registry import Params
from dmx.results.records import ended
from dmx.tracking.home import CONFIG, NEAR, Home

START, ENCODER, CHECKPOINT = "start", "model.weights", "model.checkpoint"
NET = "net."
"""What stands before the names of a network's tensors in the weights of a run, beside `mean` and `std`."""
COLOURS = ("mean", "std")
LINK = "link."
"""What stands before the names of a depth link's tensors, which are fitted to the data."""


def weights_files(config: ExperimentConfig, home: Home) -> dict[str, Path]:
    """The files that a network begins with, by the setting that names them: `start`, or else those of the model.

    Raises:
        UserError: There is no such file or run, or the run has not ended or has no weights.
    """
    if config.start is not None:
        return {START: file_of(config.start, START) if is_path(config.start) else weights_of_run(home, config.start)}
    if (of_checkpoint := config.model.component.facts.get("weights_files")) is not None:
        try:
            return {f"{CHECKPOINT}/{path.name}": path for path in of_checkpoint(config.model)}
        except UserError as error:
            raise ConfigError(f"experiment '{config.name}'", [Problem("model", str(error))]) from error
    weights = getattr(config.model, "weights", None)
    return {ENCODER: file_of(weights, ENCODER)} if isinstance(weights, str) and is_path(weights) else {}


def weights_of_run(home: Home, run: str) -> Path:
    """The best weights of a run that has ended.

    Raises:
        UserError: There is no such run, or it has not ended or has no weights.
    """
    if not (home.run(run) / CONFIG).is_file():
        known = did_you_mean(run, home.runs_with(CONFIG), NEAR)
        raise UserError(f"start names run '{run}', but there is none in {home.root}, and no file either; {known}")
    ended(home, run)
    return best_weights(home, run)


def without_weights(model: Params) -> Params:
    """The model without pretrained weights, which `start` replaces, so that they need not be had."""
    known = type(model).model_fields
    return model.model_copy(update={name: value for name, value in UNTRAINED.items() if name in known})


def begin_with(net: JointNet, path: Path) -> None:
    """Load all weights of `net`, and its colours, from a file as `save_weights` writes it.

    Raises:
        UserError: The file cannot be read, or does not fit; `net` is unchanged.
    """
    state = without_prefixes(read_state(path), lambda name: False)
    state = {name: tensor for name, tensor in state.items() if not name.startswith(LINK)}
    wanted = {f"{NET}{name}": shape for name, shape in shapes_of(net).items()} | dict.fromkeys(COLOURS, (3, 1, 1))
    fit = compare(wanted, state)
    fit.require(path, "this model", "All of `model` must be as it was in the run that the weights are of.")
    kept = {name: state.get(f"{NET}{name}", value) for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    mean, std = (state[name].flatten().tolist() for name in COLOURS)
    net.colours = ((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_weights(before: Mapping[str, Any], now: Mapping[str, str], who: str) -> None:
    """Check that files of weights have the content with which a run or study began.

    Args:
        before: The stored SHA-256 by setting.
        now: Those of the files as they are.
        who: The run or study, for the message.

    Raises:
        DataError: They differ.
    """
    if changed := [where for where, digest in now.items() if before.get(where) != digest]:
        named = " and ".join(changed)
        what = f"the file that {named} names has" if len(changed) == 1 else f"the files that {named} name have"
        raise DataError(
            f"{what} changed since {who} started; going on would mix two sets of weights. "
            f"Restore the file{'s' if len(changed) > 1 else ''}, or use another `name`."
        )


def check_weights_of_ended(record: Mapping[str, Any], config: ExperimentConfig, home: Home, who: str) -> None:
    """Check that the files of weights that a finished run began with are unchanged, as far as they are still there.

    Raises:
        DataError: A file that it was started with has changed.
    """
    files: dict[str, Path] = {}
    with suppress(UserError):
        files = weights_files(config, home)
    check_weights(record.get("weights", {}), {where: sha256_of(path) for where, path in files.items()}, who)
