"""`groups.encoder_lr: 0`: the encoder stays as it is, to the last bit, whatever trains the rest."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers.running import StopAt, assert_same_bits, execute, state
from safetensors.torch import load_file
from torch import Tensor

from dmx.config import parse_experiment
from dmx.errors import UserError
from dmx.experiment import Prepared, prepare
from dmx.experiment.run import learner_of
from dmx.models import DepthMaskModel, make_link
from dmx.models.smp import unet
from dmx.outcome import Outcome
from dmx.quartet import DepthSpec
from dmx.tracking.home import Home
from dmx.training.device import memory_mb
from dmx.training.trainer import moving_average

Make = Callable[..., dict[str, Any]]
FROZEN = {"encoder_lr": 0}
ENCODER = "net.encoder."


def prepared(data: dict[str, Any], home: Path) -> Prepared:
    return prepare(parse_experiment(data, "test"), Home(home))


def parts(found: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the encoder, and the others."""
    encoder = {name: value for name, value in found.items() if name.startswith(ENCODER)}
    return encoder, {name: value for name, value in found.items() if name not in encoder}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weighting": "pcgrad", "training": {"ema_decay": 0.9, "clip_norm": 1.0}},
        {"weighting": {"name": "mgda", "gradients_of": "features"}},
        {"optimizer": {"name": "muon", "lr": 1e-3}, "groups": {**FROZEN, "layer_decay": 0.9}},
    ],
    ids=["plain", "pcgrad, average, clipped", "mgda of features", "muon"],
)
def test_the_encoder_keeps_its_bits_and_the_rest_learns(tiny: Make, tmp_path: Path, changes: dict[str, Any]) -> None:
    data = tiny(**{"groups": FROZEN, **changes})
    before = parts({k: v.clone() for k, v in prepared(data, tmp_path / "x").model.state_dict().items()})
    assert execute(data, tmp_path / "whole").outcome is Outcome.COMPLETE
    for found in (load_file(tmp_path / "whole/runs/r/best.safetensors"), state(tmp_path / "whole")["model"]):
        encoder, rest = parts(found)
        assert len(encoder) > 20
        assert_same_bits(encoder, before[0])  # running statistics and counters of batch norms, too
        still = {name for name, value in rest.items() if torch.equal(value, before[1][name])}
        assert still == {"mean", "std"}


def test_it_resumes_to_the_same_bits(tiny: Make, tmp_path: Path) -> None:
    data = tiny(groups=FROZEN, training={"ema_decay": 0.9})
    execute(data, tmp_path / "whole")
    assert execute(data, tmp_path / "parts", StopAt(2)).outcome is Outcome.INTERRUPTED
    execute(data, tmp_path / "parts")
    for part in ("model", "optimizer", "average"):
        assert_same_bits(state(tmp_path / "whole")[part], state(tmp_path / "parts")[part])


def test_it_has_no_gradients_no_group_and_no_training_mode(tiny: Make, tmp_path: Path) -> None:
    learner = learner_of(prepared(tiny(groups=FROZEN), tmp_path))
    frozen = {id(p) for name, p in learner.model.named_parameters() if name.startswith(ENCODER)}
    grouped = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    assert grouped == {id(p) for p in learner.model.parameters()} - frozen
    assert not any(p.requires_grad for p in learner.model.parameters() if id(p) in frozen)
    average = moving_average(learner.model, 0.9)
    assert average is not None
    for model in (learner.model, average.module):
        model.train()
        assert model.training
        assert model.net.mask_decoder.training
        assert not any(module.training for module in model.net.encoder.modules())


def test_it_costs_less_memory() -> None:
    """Where nothing before the encoder learns, none of its activations wait for the backward pass."""
    model = DepthMaskModel(unet(encoder="mobilenet_v2"), make_link("exp", DepthSpec("metric", 1, 5)))
    whole = memory_mb(model, (64, 64), 8)
    model.freeze(model.net.encoder)
    assert memory_mb(model, (64, 64), 8) < 0.6 * whole  # 125 MiB and 67


def test_where_nothing_that_learns_is_shared_weightings_by_gradients_have_nothing_to_do(
    tiny: Make, tmp_path: Path
) -> None:
    model = {"name": "unet", "encoder": "mobilenet_v2", "form": "two_decoders"}
    data = tiny(model=model, groups=FROZEN, stages=[{"epochs": 1, "size": 64, "batch_size": 4}])
    made = prepared(data, tmp_path)
    batch = next(iter(made.loaders.train(made.config.stages[0], 0, 0)))
    found = []
    for weighting in ("fixed", *({"name": "cagrad", "gradients_of": of} for of in ("parameters", "features"))):
        learner = learner_of(replace(made, config=parse_experiment({**data, "weighting": weighting}, "test")))
        learner.model.train()
        learner.forward_backward(batch, learner.model)
        found.append({name: p.grad for name, p in learner.model.named_parameters() if p.grad is not None})
    plain = found[0]
    assert not any(name.startswith(ENCODER) for name in plain)
    assert any(name.startswith("net.decoders.1.") for name in plain)
    for one in found[1:]:
        assert one.keys() == plain.keys()
        for name, gradient in one.items():
            torch.testing.assert_close(gradient, plain[name])


def test_without_an_encoder_it_is_refused_before_data_is_read(tiny: Make, tmp_path: Path) -> None:
    data = tiny(plugins=["helpers.plain_net"], model={"name": "plain"}, groups=FROZEN, data={"root": "no/such"})
    with pytest.raises(UserError) as caught:
        prepared(data, tmp_path)
    assert str(caught.value) == (
        "groups: encoder_lr=0 and layer_decay=1 are about the encoder, but PlainNet has no part of that name; "
        "set both to 1."
    )


@pytest.mark.slow
def test_two_processes_keep_it_too(tiny: Make, tmp_path: Path) -> None:
    data = tiny(groups=FROZEN, training={"keep": "all"})
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(data))
    before, _ = parts(prepared(data, tmp_path / "x").model.state_dict())
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "dmx"]
    command = [*torchrun, "train", str(tmp_path / "e.yaml"), "--home", str(tmp_path / "two")]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "two/runs").iterdir()
    found = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    assert_same_bits(parts(found)[0], before)
