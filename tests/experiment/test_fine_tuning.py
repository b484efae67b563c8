"""From a checkpoint of a foundation model to a trained run that needs it no more."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.running import execute

from dmx.config import parse_experiment
from dmx.errors import ConfigError
from dmx.experiment import prepare
from dmx.experiment.trained import trained
from dmx.models.depth_anything_checkpoint import configuration, transformers
from dmx.outcome import Outcome
from dmx.tracking.home import Home

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of random weights whose disparities are about a hundred."""
    torch.manual_seed(0)
    net = transformers().DepthAnythingForDepthEstimation(configuration("tiny", "v2", None))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        net.head.conv3.bias.fill_(100.0)
    net.save_pretrained(tmp_path / "checkpoint", safe_serialization=True)
    return tmp_path / "checkpoint"


def test_a_run_begins_at_the_depth_of_the_data_and_needs_its_checkpoint_no_more(
    checkpoint: Path, tiny: Make, tmp_path: Path
) -> None:
    model = {"name": "depth_anything", "checkpoint": str(checkpoint), "size": "tiny", "inputs": "image"}
    data = tiny(model=model, groups={"encoder_lr": 0.1, "layer_decay": 0.8})
    config, home = parse_experiment(data, "test"), Home(tmp_path / "mlruns")
    prepared = prepare(config, home)
    spec = prepared.index.depth
    scale = prepared.model.link.a.item()
    middle = 1 / (100 * scale + 1 / spec.high)  # of a disparity of about 100
    assert spec.low < middle < spec.high
    assert execute(data, home.root).outcome is Outcome.COMPLETE
    shutil.rmtree(checkpoint)
    network = trained(home, "r")
    assert network.model.link.a.item() == pytest.approx(scale)
    assert spec.low < network.model.dry_run((28, 28)).depth.median() <= spec.high
    with pytest.raises(ConfigError, match=r"model: .*checkpoint: is no folder; name the folder of a Hugging Face"):
        prepare(config, home)
