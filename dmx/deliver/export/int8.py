"""Eight-bit integers by ONNX Runtime's static quantisation, calibrated on training pictures.

Weights and activations are integers with a scale, per channel for weights (Jacob et al. 2018, "Quantization and
training of neural networks for efficient integer-arithmetic-only inference"). The last convolution or matrix product
before each output and all behind it stay in float32: 256 steps of depth would be visible as terraces.

All other operators that ONNX Runtime can quantise are quantised, activation functions among them: a range is then that
behind the ReLU, and nothing changes to float32 and back between two convolutions. Activations are unsigned, for which
x86 has instructions, and weights have 7 bits: before VNNI, those instructions saturate the sum of two products of 8
bits each (ONNX Runtime's documentation of quantisation).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dmx.foreign.extra import extra

KINDS = ("Conv", "MatMul", "Gemm", "ConvTranspose")
"""The operators of which the last before each output stays in float32."""


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
    prepare = extra("onnxruntime.quantization.shape_inference").quant_pre_process
    try:
        # torch has written all shapes; symbolic inference knows fewer operators, and fails on some networks
        prepare(str(source), str(shaped), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(shaped),
            str(target),
            reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            reduce_range=True,
            nodes_to_exclude=last_nodes(onnx.load(str(shaped)).graph),
        )
    finally:
        shaped.unlink(missing_ok=True)


def last_nodes(graph: Any) -> list[str]:
    """The names of the last nodes of `KINDS` on the ways to the outputs, and of those behind them."""
    makers = {name: node for node in graph.node for name in node.output}
    waiting, seen, found = [one.name for one in graph.output], set(), []
    while waiting:
        name = waiting.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        found.append(node.name)
        if node.op_type not in KINDS:
            waiting += node.input
    return found
