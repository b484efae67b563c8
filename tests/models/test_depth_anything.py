"""Depth Anything against transformers' own network, its checkpoints, and what is refused of them."""

import json
import sys

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from dmx.errors import UserError
from dmx.models import DepthMaskModel, describe_parameters, make_link
from dmx.models.depth_anything import depth_anything, licence
from dmx.models.depth_anything_checkpoint import check_configuration, configuration, transformers
from dmx.models.joint import IMAGENET, identity
from dmx.quartet import DepthSpec
from dmx.registry import models
from dmx.training.groups import encoder_scales, without_weight_decay

ROOM = DepthSpec("metric", 0.5, 8.0)
COLOURS = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.25, 0.5, 1.0]}


def reference(max_depth=None, version="v2"):
    """transformers' own network with random weights that give outputs of order 1."""
    torch.manual_seed(0)
    net = transformers().DepthAnythingForDepthEstimation(configuration("tiny", version, max_depth)).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
        net.head.conv3.bias.add_(1.0 if max_depth is None else 0.0)
    return net


def saved(net, folder, colours=None):
    net.save_pretrained(folder, safe_serialization=True)
    if colours is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(colours))
    return f"{folder}/"


@pytest.fixture
def checkpoint(tmp_path):
    return saved(reference(), tmp_path)


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("max_depth", [None, 20])
@pytest.mark.parametrize(("form", "inputs"), [("shared", "image"), ("two_decoders", "image+background")])
@pytest.mark.parametrize("size", [(42, 70), (50, 70), (13, 33)])
def test_its_depth_is_that_of_transformers(tmp_path, max_depth, form, inputs, size):
    """At other sizes than multiples of 14, that of the picture padded by replication."""
    theirs = reference(max_depth)
    path = saved(theirs, tmp_path, COLOURS)
    ours = depth_anything(checkpoint=path, size="tiny", max_depth=max_depth, form=form, inputs=inputs)
    assert ours.colours == ((0.5, 0.4, 0.3), (0.25, 0.5, 1.0))
    model = DepthMaskModel(ours, make_link("identity", ROOM), ours.colours).eval()
    image, background = torch.rand(2, 2, 3, *size)
    (top, bottom), (left, right) = (((-side % 14) // 2, (-side % 14 + 1) // 2) for side in size)
    mean, std = (torch.tensor(COLOURS[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
    padded = nn.functional.pad((image - mean) / std, (left, right, top, bottom), mode="replicate")
    with torch.no_grad():
        wanted = theirs(padded).predicted_depth[:, None, top : top + size[0], left : left + size[1]]
        found = model(image, background).depth
    assert wanted.std() > 0.01
    assert ((found - wanted).abs() / wanted.abs().clamp_min(1)).max() < 1e-4


def test_the_network_of_the_first_version_takes_the_last_four_layers(tmp_path):
    theirs = reference(version="v1")
    ours = depth_anything(checkpoint=saved(theirs, tmp_path), size="tiny", version="v1", inputs="image").eval()
    image = torch.rand(1, 3, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(ours(image, None)[1][:, 0], theirs(image).predicted_depth)


@pytest.mark.parametrize(("size", "millions"), [("small", 24.8), pytest.param("base", 97.5, marks=pytest.mark.slow)])
def test_sizes_have_the_published_numbers_of_parameters(size, millions):
    """Those of the paper's table, in the configuration; ours has a mask head more, and no mask token."""
    with torch.device("meta"):
        theirs = transformers().DepthAnythingForDepthEstimation(configuration(size, "v2", None))
    assert round(describe_parameters(theirs) / 1e6, 1) == millions


def test_the_published_configuration_is_that_of_its_size(tmp_path):
    """As Depth-Anything-V2-Small-hf has it: what is not written has the library's default."""
    backbone = {
        "model_type": "dinov2",
        "hidden_size": 384,
        "num_attention_heads": 6,
        "image_size": 518,
        "patch_size": 14,
        "out_features": ["stage3", "stage6", "stage9", "stage12"],
        "out_indices": [3, 6, 9, 12],
        "reshape_hidden_states": False,
    }
    facts = {
        "model_type": "depth_anything",
        "backbone_config": backbone,
        "fusion_hidden_size": 64,
        "head_hidden_size": 32,
        "neck_hidden_sizes": [48, 96, 192, 384],
        "patch_size": 14,
        "reassemble_hidden_size": 384,
        "depth_estimation_type": "relative",
        "max_depth": None,
    }
    (tmp_path / "config.json").write_text(json.dumps(facts))
    check_configuration(tmp_path, configuration("small", "v2", None))
    with pytest.raises(UserError, match="write size: small, version: v2, max_depth: null"):
        check_configuration(tmp_path, configuration("base", "v2", None))
    change(tmp_path, depth_estimation_type="metric", max_depth=80)
    with pytest.raises(UserError, match="write size: small, version: v2, max_depth: 80"):
        check_configuration(tmp_path, configuration("small", "v2", None))


def test_all_wrong_weights_are_told_at_once(tmp_path, checkpoint):
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    del state["head.conv3.bias"], state["backbone.encoder.layer.1.norm1.weight"]
    state["head.conv1.weight"] = torch.zeros(3, 3)
    state["head.conv4.weight"] = torch.zeros(1)
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(UserError) as caught:
        depth_anything(checkpoint=checkpoint, size="tiny")
    assert str(caught.value) == (
        f"{path}: has not the weights that its config.json describes: missing backbone.encoder.layer.1.norm1.weight, "
        "head.conv3.bias; superfluous head.conv4.weight; of another shape head.conv1.weight [3, 3] instead of "
        "[8, 16, 3, 3]; download the checkpoint again, or take one that transformers' "
        "DepthAnythingForDepthEstimation.save_pretrained wrote."
    )


def test_what_is_no_checkpoint_is_refused(tmp_path, checkpoint):
    def refused(path=checkpoint, **parameters):
        with pytest.raises(UserError) as caught:
            depth_anything(checkpoint=path, **{"size": "tiny", **parameters})
        return str(caught.value)

    assert "is no folder; name the folder of a Hugging Face checkpoint" in refused(f"{tmp_path}/nowhere")
    assert refused(size="small").endswith("write size: tiny, version: v2, max_depth: null.")
    assert refused(max_depth=20).endswith("write size: tiny, version: v2, max_depth: null.")
    change(tmp_path, fusion_hidden_size=24)
    assert "describes no published network; it differs from the one of `model` in fusion_hidden_size 24" in refused()
    change(tmp_path, model_type="dpt")
    assert "is of a 'dpt' model, not of 'depth_anything'; take a checkpoint of Depth Anything in the form" in refused()
    (tmp_path / "config.json").write_text("{")
    assert "config.json: is no configuration of transformers (JSONDecodeError: " in refused()
    (tmp_path / "config.json").unlink()
    assert "has no config.json; name the folder" in refused()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").unlink()
    assert "has neither model.safetensors nor pytorch_model.bin; name the folder" in refused()


def test_a_damaged_file_is_refused(tmp_path, checkpoint):
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(
        UserError, match=r"cannot be read as weights of Depth Anything .*; download the checkpoint again"
    ):
        depth_anything(checkpoint=checkpoint, size="tiny")


class Harmful:
    """A pickle of this calls `eval` when it is loaded."""

    def __reduce__(self):
        return eval, ("__import__('pathlib').Path('harmed').touch()",)


def test_weights_of_torch_are_read_and_code_in_them_is_not_run(tmp_path, checkpoint, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    net = depth_anything(checkpoint=checkpoint, size="tiny")
    assert torch.equal(net.depth_head.conv1.weight, state["head.conv1.weight"])
    torch.save({**state, "head.conv3.bias": Harmful()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin: cannot be read as weights of Depth Anything"):
        depth_anything(checkpoint=checkpoint, size="tiny")
    assert not (tmp_path / "harmed").exists()


def test_colours_that_cannot_be_read_are_refused(tmp_path, checkpoint):
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": [0.5]}')
    with pytest.raises(UserError, match=r"has no image_mean and image_std of three numbers .* or remove it"):
        depth_anything(checkpoint=checkpoint, size="tiny")
    (tmp_path / "preprocessor_config.json").unlink()
    assert depth_anything(checkpoint=checkpoint, size="tiny").colours == IMAGENET


def test_the_files_of_a_checkpoint_are_known(tmp_path, checkpoint):
    files = models["depth_anything"].facts["weights_files"]
    params = models["depth_anything"].params
    assert files(params()) == []
    assert [file.name for file in files(params(checkpoint=checkpoint))] == ["config.json", "model.safetensors"]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(COLOURS))
    assert len(files(params(checkpoint=checkpoint))) == 3
    with pytest.raises(ValidationError, match=r"'mine' is neither `none` nor the path of a folder; write \./mine"):
        params(checkpoint="mine")


def test_licences_are_those_of_the_published_weights():
    found = {
        (size, version): licence(models["depth_anything"].params(size=size, version=version))
        for size in ("tiny", "small", "base", "large")
        for version in ("v1", "v2")
    }
    assert found["tiny", "v1"] is found["tiny", "v2"] is None
    assert {key for key, value in found.items() if value == "cc-by-nc-4.0"} == {("base", "v2"), ("large", "v2")}
    assert {key for key, value in found.items() if value == "apache-2.0"} == {
        ("small", "v1"), ("small", "v2"), ("base", "v1"), ("large", "v1")
    }  # fmt: skip


def test_the_learning_rate_decays_by_layers_of_its_encoder():
    from dmx.config.experiment import GroupsConfig

    model = DepthMaskModel(depth_anything(size="tiny"), identity)
    scales = encoder_scales(model, GroupsConfig(encoder_lr=0.1, layer_decay=0.5), lambda: model.dry_run((28, 28)))
    assert len({name for name in scales if not name.startswith("net.encoder.")}) == 0
    assert scales["net.encoder.layers.4.mlp.fc1.weight"] == pytest.approx(0.1 * 0.5)
    assert scales["net.encoder.layers.0.mlp.fc1.weight"] == pytest.approx(0.1 * 0.5**5)
    assert scales["net.encoder.embeddings.patch_embeddings.projection.weight"] == pytest.approx(0.1 * 0.5**6)
    spared = without_weight_decay(model)
    assert {"net.encoder.embeddings.cls_token", "net.encoder.embeddings.position_embeddings"} <= spared


def test_without_its_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "depth_anything" in models
    with pytest.raises(UserError) as caught:
        depth_anything()
    assert str(caught.value) == ("model 'depth_anything' needs transformers; install it by `pip install dmx[depth]`.")
