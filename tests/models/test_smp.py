import json
import subprocess
import sys
import time

import huggingface_hub.constants
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from dmx.errors import UserError
from dmx.models.joint import IMAGENET
from dmx.models.smp import unet
from dmx.models.smp.encoders import LIGHT, colours_of, encoders
from dmx.registry import models


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache and a hub that nobody answers for."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path


def test_searched_encoders_are_the_librarys():
    assert set(LIGHT) <= set(encoders())


def test_deprecated_encoders_are_left_out():
    assert not any(name.startswith("timm-") for name in encoders())


@pytest.mark.parametrize("name", ["unet", "fpn"])
def test_unknown_encoder_is_refused_with_a_proposal(name):
    with pytest.raises(ValidationError, match=r"no encoder 'resnet81'; did you mean 'resnet18'\? Known: "):
        models[name].params(encoder="resnet81")


def test_timms_names_are_told_apart():
    with pytest.raises(ValidationError, match="timm's are written with a tu- before their names"):
        models["unet"].params(encoder="resnet18d")


def test_weights_that_cannot_be_had_are_refused_at_once(hub):
    encoders()  # the library's import is not what is timed
    start = time.perf_counter()
    with pytest.raises(UserError) as caught:
        unet(weights="imagenet")
    assert time.perf_counter() - start < 30  # 0.2 s; with the library's own attempts 47
    text = str(caught.value)
    assert text.startswith(f"the imagenet weights of encoder 'resnet18' are not in the cache {hub} and cannot be ")
    assert "downloaded from http://127.0.0.1:9/smp-hub/resnet18.imagenet (" in text
    assert "; use weights=none, or put them into the cache where there is a network: hf download smp-hub/" in text


def test_weights_that_do_not_exist_are_refused():
    with pytest.raises(UserError) as caught:
        unet(encoder="resnext101_32x48d", weights="imagenet")
    assert str(caught.value) == (
        "encoder 'resnext101_32x48d' has no pretrained weights 'imagenet' (only instagram); use weights=none."
    )


def test_cached_weights_are_taken_without_a_network(hub):
    source = unet(inputs="image").encoder.state_dict()
    revision = encoders()["resnet18"]["pretrained_settings"]["imagenet"]["revision"]
    snapshot = hub / "models--smp-hub--resnet18.imagenet" / "snapshots" / revision
    snapshot.mkdir(parents=True)
    colours = {"mean": [0, 0.1, 0.2], "std": [51, 102, 255], "input_range": [0, 255]}
    (snapshot / "config.json").write_text(json.dumps(colours))
    save_file(source, snapshot / "model.safetensors")
    net = unet(weights="imagenet", inputs="image")
    loaded = net.encoder.state_dict()
    assert net.colours == ((0, pytest.approx(0.1 / 255), pytest.approx(0.2 / 255)), (0.2, 0.4, 1.0))
    assert all(torch.equal(value, loaded[key]) for key, value in source.items())


def test_pictures_come_as_the_weights_expect_them():
    assert colours_of("tu-vit_tiny_patch16_224", "augreg_in21k_ft_in1k") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert unet(inputs="image").colours == IMAGENET


def test_registering_does_not_import_the_libraries():
    code = (
        "import sys, dmx.models; "
        "assert not {'timm', 'segmentation_models_pytorch', 'torchvision', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
