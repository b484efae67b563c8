"""Write a bundle: all of its files, or none."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from dmx.data.writing import staged
from dmx.deliver.bundle.card import card
from dmx.deliver.bundle.names import CARD, EXPERIMENT, FACTS, NETWORK, SUMS, WEIGHTS
from dmx.deliver.bundle.story import story_of
from dmx.deliver.export.samples import Samples
from dmx.deliver.export.write import Form, export
from dmx.deliver.exported import Facts
from dmx.errors import UserError
from dmx.experiment.initial_weights import sha256_of
from dmx.experiment.trained import Trained, best_weights
from dmx.results.records import kept_yaml
from dmx.tracking.home import CONFIG, Home


def bundle(home: Home, network: Trained, out: Path, form: Form, samples: Samples, threshold: float) -> Facts:
    """Write a run's network with all that is known about it into a new folder.

    Args:
        home: The folder of results.
        network: The run's network.
        out: The folder; it must not exist, or be empty.
        form: Size and precision of the exported network.
        samples: Pictures to compare on, and to calibrate int8 with.
        threshold: The probability from which on a pixel is the object's.

    Raises:
        UserError: The run has not ended, its record is damaged, or the network cannot be exported so.
        DataError: `out` is there already, or training pictures are needed and not there.

    Returns:
        What the exported network says of itself.
    """
    if form.format != "onnx":
        raise UserError(
            "a bundle holds ONNX: an archive of torch.export has a pickle inside, which a bundle must not have; leave "
            f"out --format {form.format}."
        )
    story = story_of(home, network)
    with staged(out) as stage:
        facts = export(network, stage / NETWORK, form, samples, threshold)
        shutil.copyfile(best_weights(home, network.run), stage / WEIGHTS)
        write_text(stage / FACTS, json.dumps(asdict(facts), indent=2) + "\n")
        experiment = without_places(kept_yaml(home.run(network.run) / CONFIG))
        write_text(stage / EXPERIMENT, yaml.safe_dump(experiment, sort_keys=False))
        write_text(stage / CARD, card(story, facts))
        sums = "".join(f"{sha256_of(path)}  {path.name}\n" for path in sorted(stage.iterdir()))
        write_text(stage / SUMS, sums)
    return facts


def without_places(value: Any) -> Any:
    """A configuration in which absolute paths, which say something about this machine alone, are names."""
    match value:
        case Mapping():
            return {key: without_places(one) for key, one in value.items()}
        case list():
            return [without_places(one) for one in value]
        case str() if value.startswith("~") or Path(value).is_absolute():
            return Path(value).name
        case _:
            return value


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, with the same line ends everywhere, so that checksums are."""
    path.write_text(text, encoding="utf-8", newline="\n")
