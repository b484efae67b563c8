"""Networks of others: what is read of a file, what has to be given, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.onnx_files import save

from dmx.data.planes import resize_picture
from dmx.errors import DataError, UserError
from dmx.foreign import Settings, is_foreign, open_network

METRIC = Settings(predicts="metric", normalise="none")


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """An image of 30x44 and its background."""
    random = np.random.default_rng(0)
    image, background = random.integers(0, 256, (2, 30, 44, 3), np.uint8)
    return image, background


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_fixed_size_is_met_and_bytes_are_taken_as_they_are(tmp_path: Path, pictures: Any, as_bytes: bool) -> None:
    path = save(tmp_path / "net.onnx", sides=(20, 16), mask="probability", as_bytes=as_bytes)
    network = open_network(str(path), METRIC)
    assert network.needs_background
    image, background = (resize_picture(one, (20, 16)) / 255 for one in pictures)
    depth, mask = network.run(*pictures)
    assert mask is not None
    np.testing.assert_allclose(depth, 1 + 4 * image[..., 0], rtol=1e-6)
    np.testing.assert_allclose(mask, np.abs(image - background).max(2), rtol=1e-5, atol=1e-7)


def test_a_free_size_is_a_multiple_of_224(tmp_path: Path, pictures: Any) -> None:
    depth, mask = open_network(str(save(tmp_path / "net.onnx")), METRIC).run(pictures[0], None)
    assert (depth.shape, mask) == ((224, 224), None)
    expected = 1 + 4 * (cv2.resize(pictures[0], (224, 224), interpolation=cv2.INTER_LINEAR)[..., 0] / 255)
    np.testing.assert_allclose(depth, expected, rtol=1e-6)


def test_the_normalisation_is_that_of_imagenet_unless_another_is_given(tmp_path: Path, pictures: Any) -> None:
    path = str(save(tmp_path / "net.onnx", sides=(30, 44)))
    red = pictures[0][..., 0] / 255
    for normalise, mean, deviation in ((None, 0.485, 0.229), ("half", 0.5, 0.5), ("none", 0, 1)):
        network = open_network(path, Settings(predicts="metric", normalise=normalise))
        np.testing.assert_allclose(network.run(pictures[0], None)[0], 1 + 4 * (red - mean) / deviation, atol=1e-5)
    taken = save(tmp_path / "bytes.onnx", as_bytes=True)
    assert open_network(str(taken), Settings(predicts="metric")).settings.normalise == "none"


def test_logits_become_probabilities_where_they_are_named(tmp_path: Path, pictures: Any) -> None:
    path = str(save(tmp_path / "net.onnx", sides=(30, 44), mask="logits"))
    with pytest.raises(DataError, match=r"mask gives numbers from .* which are no probabilities; .* say --mask-logits"):
        open_network(path, METRIC).run(*pictures)
    _, mask = open_network(path, Settings(predicts="metric", normalise="none", mask_logits=True)).run(*pictures)
    change = np.abs(np.subtract(*(one / 255 for one in pictures))).max(2)
    np.testing.assert_allclose(mask, 1 / (1 + np.exp(-10 * (change - 0.21))), rtol=1e-4)


def test_what_the_depth_is_is_stated_or_asked_for(tmp_path: Path) -> None:
    bare = save(tmp_path / "bare.onnx")
    with pytest.raises(UserError, match=r"bare.onnx: its metadata \(key `predicts`\) does not say .* give --predicts"):
        open_network(str(bare), Settings())
    noted = str(save(tmp_path / "noted.onnx", metadata={"predicts": "disparity"}))
    assert open_network(noted, Settings()).predicts == "disparity"
    assert open_network(noted, Settings(predicts="depth")).predicts == "depth"
    odd = str(save(tmp_path / "odd.onnx", metadata={"predicts": "colours"}))
    with pytest.raises(UserError, match="give --predicts metric"):
        open_network(odd, Settings())


def test_outputs_follow_from_their_names_or_are_named(tmp_path: Path) -> None:
    path = str(save(tmp_path / "net.onnx", mask="probability", outputs=("a", "b")))
    with pytest.raises(UserError, match=r"has the outputs a, b; name the one that is meant by --depth-output"):
        open_network(path, METRIC)
    with pytest.raises(UserError, match=r"has no output 'c'; .*Known: a, b"):
        open_network(path, Settings(predicts="metric", depth_output="c"))
    found = open_network(path, Settings(predicts="metric", depth_output="a", mask_output="b")).settings
    assert (found.depth_output, found.mask_output) == ("a", "b")
    assert open_network(path, Settings(predicts="metric", mask_output="b")).settings.depth_output == "a"
    alone = str(save(tmp_path / "alone.onnx", outputs=("y", "")))
    assert open_network(alone, METRIC).settings.mask_output == ""
    with pytest.raises(UserError, match="has no output for a mask, so --mask-logits says nothing"):
        open_network(alone, Settings(predicts="metric", mask_logits=True))


def test_the_name_follows_from_content_and_settings(tmp_path: Path) -> None:
    one, other = save(tmp_path / "my net.onnx"), save(tmp_path / "other.onnx", slope=3.0)
    name = open_network(str(one), METRIC).name
    assert name.startswith("my-net-")
    assert open_network(str(one), METRIC).name == name
    assert open_network(str(one), Settings(predicts="depth", normalise="none")).name != name
    other.rename(one)
    assert open_network(str(one), METRIC).name != name
    before = open_network(str(one), METRIC)
    (tmp_path / "my net.onnx.data").write_bytes(b"weights beside the file")
    assert open_network(str(one), METRIC).sha256 != before.sha256


def test_what_cannot_be_run_is_refused(tmp_path: Path, pictures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [is_foreign(name) for name in ("a.onnx", "hf:a", "a.PT", "office-0003")] == [True, True, True, False]
    with pytest.raises(UserError, match=r"net.pt: is a file of torch, which can run its author's code"):
        open_network(str(tmp_path / "net.pt"), METRIC)
    two = save(tmp_path / "two.onnx", mask="probability", background="second")
    with pytest.raises(DataError, match=r"takes image .*, second .* a second with `background` in its name"):
        open_network(str(two), METRIC)
    endless = save(tmp_path / "endless.onnx", slope=float("inf"))
    with pytest.raises(DataError, match=r"endless.onnx: depth: gives .* where one plane of finite ones is needed"):
        open_network(str(endless), METRIC).run(pictures[0], None)
    with pytest.raises(UserError, match=r"is no folder of a Hugging Face model \(it has no config.json\)"):
        open_network(f"hf:{tmp_path}", Settings())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"this needs onnxruntime; install it by `pip install dmx\[depth\]`"):
        open_network(str(endless), METRIC)


def depth_anything(folder: Path, **changes: Any) -> str:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
        head_hidden_size=8,
        **changes,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder, safe_serialization=True)
    DPTImageProcessor(size={"height": 28, "width": 28}).save_pretrained(folder)
    return f"hf:{folder}"


def test_a_folder_of_hugging_face_says_what_its_depth_is(
    tmp_path: Path, pictures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    relative = open_network(depth_anything(tmp_path / "relative"), Settings())
    name = depth_anything(tmp_path / "metric", depth_estimation_type="metric", max_depth=20)
    metric = open_network(name, Settings())
    assert (relative.predicts, metric.predicts) == ("disparity", "metric")
    assert relative.name.startswith("relative-")
    depth, mask = metric.run(pictures[0], None)
    assert mask is None
    assert 0 < depth.min() < depth.max() < 20
    with pytest.raises(UserError, match=r"metric: its config.json says that it predicts metric depth, not disparity"):
        open_network(name, Settings(predicts="disparity"))
    with pytest.raises(UserError, match=r"brings its own normalisation and has one output, of depth"):
        open_network(name, Settings(normalise="half"))
