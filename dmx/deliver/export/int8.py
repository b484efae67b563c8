"""Eight-bit integers by ONNX Runtime's static quantisation, calibrated on training pictures.

Weights and activations of convolutions and matrix products are integers with a scale, per channel for weights (Jacob et
al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-only inference"). The last of
them before each output stays in float32: 256 steps of raw depth would be visible as terraces.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dmx.foreign.extra import extra

KINDS = ("Conv", "MatMul", "Gemm", "ConvTranspose")
"""The operators that become integers."""


def quantise(source: Path, target: Path, batches: Iterator[Mapping[str, np.ndarray]]) -> None:
    """Write `source`, a float32 ONNX file, as int8.

    Args:
        source: The file.
        target: The file to write.
        batches: A batch for each input, by its name: training pictures, from which the ranges of activations are taken.
    """
    quantization = extra("onnxruntime.quantization")
    onnx = extra("onnx")
    shaped = target.with_name(f"{target.stem}.shaped.onnx")
    reader = type("Reader", (quantization.CalibrationDataReader,), {"get_next": lambda self: next(batches, None)})
    try:
        extra("onnxruntime.quantization.shape_inference").quant_pre_process(str(source), str(shaped))
        quantization.quantize_static(
            str(shaped),
            str(target),
            reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=list(KINDS),
            nodes_to_exclude=last_nodes(onnx.load(str(shaped)).graph),
        )
    finally:
        shaped.unlink(missing_ok=True)


def last_nodes(graph: Any) -> list[str]:
    """The names of the last nodes of `KINDS` on the ways to the outputs."""
    makers = {name: node for node in graph.node for name in node.output}
    waiting, seen, found = [one.name for one in graph.output], set(), []
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in KINDS:
            found.append(node.name)
        else:
            waiting += node.input
    return found
