"""Small ONNX files whose answers are known: depth is a line of red, the mask what differs from the background."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dmx.deliver.exported import Facts


def constant(name: str, value: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


def mask_nodes(mask: str, output: str) -> list[onnx.NodeProto]:
    greatest = output if mask == "probability" else "greatest"
    nodes = [
        helper.make_node("Sub", ["image_x", "background_x"], ["apart"]),
        helper.make_node("Abs", ["apart"], ["change"]),
        helper.make_node("ReduceMax", ["change"], [greatest], axes=[1], keepdims=1),
    ]
    if mask == "logits":
        nodes.append(helper.make_node("Sub", ["greatest", "edge"], ["above"]))
        nodes.append(helper.make_node("Mul", ["above", "ten"], [output]))
    return nodes


def save(
    path: Path,
    *,
    sides: tuple[Any, Any] = ("H", "W"),
    slope: float = 4.0,
    offset: float = 1.0,
    mask: str = "",
    outputs: tuple[str, str] = ("depth", "mask"),
    background: str = "background",
    as_bytes: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """`slope * red + offset` as depth, of red in [0, 1].

    Args:
        mask: `probability` is the greatest difference of a colour from the background, `logits` ten times what it is
            above 0.21; empty: no such output, and no input for the background.
        as_bytes: Whether it takes (1, H, W, 3) of uint8 instead of (1, 3, H, W) of float.
    """
    kind, shape = (TensorProto.UINT8, [1, *sides, 3]) if as_bytes else (TensorProto.FLOAT, [1, 3, *sides])
    roles = {"image": "image", **({"background": background} if mask else {})}
    inputs = [helper.make_tensor_value_info(name, kind, shape) for name in roles.values()]
    nodes = []
    for role, name in roles.items():
        if as_bytes:
            nodes.append(helper.make_node("Cast", [name], [f"{role}_f"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Div", [f"{role}_f", "full"], [f"{role}_1"]))
            nodes.append(helper.make_node("Transpose", [f"{role}_1"], [f"{role}_x"], perm=[0, 3, 1, 2]))
        else:
            nodes.append(helper.make_node("Identity", [name], [f"{role}_x"]))
    nodes.append(helper.make_node("Slice", ["image_x", "zero", "one", "one"], ["red"]))
    nodes.append(helper.make_node("Mul", ["red", "slope"], ["scaled"]))
    nodes.append(helper.make_node("Add", ["scaled", "offset"], [outputs[0]]))
    nodes += mask_nodes(mask, outputs[1]) if mask else []
    made = [*outputs] if mask else [outputs[0]]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, *sides]) for name in made]
    numbers = {"full": 255.0, "slope": slope, "offset": offset, "edge": 0.21, "ten": 10.0}
    constants = [constant(name, value) for name, value in numbers.items()]
    constants += [constant("zero", [0], np.int64), constant("one", [1], np.int64)]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(nodes, "red", inputs, results, [one for one in constants if one.name in used])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if metadata:
        helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def save_exported(path: Path, size: tuple[int, int], background: bool = False, **facts: Any) -> Path:
    """A file as `dmx export` writes it, with 1 + 4 * red as depth in metres and green as the mask's probability."""
    known = Facts(
        run=path.stem,
        version="0",
        size=size,
        dynamic=False,
        multiple=1,
        least=1,
        inputs=("image", "background") if background else ("image",),
        depth={"kind": "metric", "low": 1.0, "high": 5.0, "near": "low"},
        unit="m",
        mask_threshold=0.5,
        mean=(0.0, 0.0, 0.0),
        deviation=(1.0, 1.0, 1.0),
        precision="float32",
        opset=13,
        licence="",
    )
    sides = ["batch", *size]
    nodes = [
        helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["numbers", "full"], ["shares"]),
        helper.make_node("Gather", ["shares", "first"], ["red"], axis=3),
        helper.make_node("Gather", ["shares", "second"], ["mask"], axis=3),
        helper.make_node("Mul", ["red", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["depth"]),
    ]
    numbers = [constant("full", 255.0), constant("slope", 4.0), constant("offset", 1.0)]
    numbers += [constant("first", 0, np.int64), constant("second", 1, np.int64)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.UINT8, [*sides, 3]) for name in known.inputs]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in ("depth", "mask")]
    graph = helper.make_graph(nodes, "red", inputs, outputs, numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"predicts": "metric", **replace(known, **facts).metadata()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
