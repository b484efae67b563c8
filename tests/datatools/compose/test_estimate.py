"""Depth by models: a small ONNX file worked by hand, and what is refused."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from dmx.data.layout import read
from dmx.data.reading import read_quartet
from dmx.datatools.compose import Recipe, Wanted, compose
from dmx.datatools.compose.depth import open_model, relative_depth
from dmx.datatools.compose.plan import find_sources
from dmx.errors import DataError, UserError


def model(path: Path, sides: tuple[Any, Any] = ("H", "W"), channels: int = 3) -> str:
    """The mean over the channels of what comes in, as ONNX."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, *sides])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, *sides])
    graph = helper.make_graph([node], "mean", [given], [result])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(made)
    path.write_bytes(made.SerializeToString())
    return str(path)


@pytest.mark.parametrize("sides", [(8, 8), ("H", "W")])
def test_an_onnx_model_gives_its_numbers_stretched(tmp_path: Path, sides: tuple[Any, Any]) -> None:
    picture = (
        np.repeat(np.array([[0, 85], [170, 255]], np.uint8), 4, axis=0).repeat(4, axis=1)[..., None].repeat(3, axis=2)
    )
    found = relative_depth(open_model(model(tmp_path / "mean.onnx", sides)), picture)
    # the mean of grey g is a rising line of g, so stretched it is g / 255
    np.testing.assert_allclose(found[[0, 0, -1, -1], [0, -1, 0, -1]], [0, 1 / 3, 2 / 3, 1], atol=1e-5)


def test_a_composed_set_says_that_its_depth_is_relative(plain: Path, cutouts: Path, tmp_path: Path) -> None:
    name = model(tmp_path / "mean.onnx")
    recipe = Recipe((24, 24), 0, 45.0, (1.5, 1.9), (1.5, 6.0), "png", name, "high")
    sources = find_sources(plain, cutouts, part=None, val=0.2, test=0.2, seed=0, model=True)
    compose(sources, tmp_path / "out", recipe, Wanted(8, 2, True, 0.2, 0.2), workers=1)
    index = read(tmp_path / "out")
    assert "depth_model='mean.onnx " in str(index.declaration.source)
    assert str(tmp_path) not in str(index.declaration.source)
    assert (index.depth.kind, index.depth.near, index.depth.low, index.depth.high) == ("relative", "high", 0, 1)
    quartet = read_quartet(index, index.samples[0])
    assert quartet.valid.all()
    assert (quartet.depth.min(), quartet.depth.max()) == (0, 1)
    raw = cv2.imread(str(index.pictures / str(index.samples[0].depth)), cv2.IMREAD_UNCHANGED)
    expected = relative_depth(open_model(name), quartet.image)
    np.testing.assert_allclose(raw / 65535, expected, atol=1e-5)


def test_a_constant_answer_is_refused(tmp_path: Path) -> None:
    estimate = open_model(model(tmp_path / "mean.onnx"))
    with pytest.raises(DataError, match="where a plane of finite, different ones is needed; choose another model"):
        relative_depth(estimate, np.zeros((8, 8, 3), np.uint8))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for suffix in ("pt2", "pt"):
        with pytest.raises(UserError, match=r"can run its author's code .*; convert it by `torch.onnx.export`"):
            open_model(str(tmp_path / f"model.{suffix}"))
    with pytest.raises(UserError, match=r"nowhere.onnx: is not there; name an .onnx file that is there"):
        open_model(str(tmp_path / "nowhere.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"bad.onnx: cannot be read as ONNX .*; export it again"):
        open_model(str(tmp_path / "bad.onnx"))
    with pytest.raises(DataError, match=r"takes x \[1, 4, 8, 8\] tensor\(float\) where one picture \[1, 3, H, W\]"):
        open_model(model(tmp_path / "four.onnx", (8, 8), channels=4))


def test_a_model_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    small = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16}
    config = DPTConfig(
        **small,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    DPTForDepthEstimation(config).save_pretrained(tmp_path / "dpt", safe_serialization=True)
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "dpt")
    picture = np.random.default_rng(0).integers(0, 255, (20, 24, 3), np.uint8)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = relative_depth(open_model(f"hf:{tmp_path / 'dpt'}"), picture)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert found.shape == (20, 24)
    assert (found.min(), found.max()) == (0, 1)
    with pytest.raises(DataError, match=r"nothing: cannot be opened .* name a depth-estimation model"):
        open_model(f"hf:{tmp_path / 'nothing'}")
