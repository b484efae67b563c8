"""Every registered model exports to ONNX and predicts there as in torch, at sizes that were not traced."""

import onnxruntime
import pytest
import torch

from dmx.deliver.export.compare import relative
from dmx.deliver.export.graph import PhotographToMaps
from dmx.deliver.export.write import quiet, traced, write_onnx
from dmx.models import DepthMaskModel, make_link
from dmx.models.joint import margins
from dmx.quartet import DepthSpec
from dmx.registry import models

MODELS = [pytest.param(component, id=name) for name, component in models.items()]
ODD = (47, 61)


@pytest.mark.parametrize("component", MODELS)
def test_its_file_predicts_what_it_predicts(component, tmp_path):
    """At three sizes, two of them with an odd number of blocks; at an odd size where the file has one size alone."""
    torch.manual_seed(0)
    net = component.params(**component.facts.get("tested", {})).bind()().eval()
    spec = DepthSpec("metric", 0.5, 10.0)
    model = DepthMaskModel(net, make_link("exp", spec, net)).eval()
    dynamic = not component.facts.get("fixed_size")
    first = tuple(side + sum(margins(side, net)) for side in ODD) if dynamic else ODD
    with quiet():
        write_onnx(traced(model, first, dynamic), model, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    step = net.multiple
    sizes = [first, (first[0] + step, first[1]), (first[0] + 2 * step, first[1] + 3 * step)] if dynamic else [first]
    for batch, size in enumerate(sizes, start=1):
        given = [torch.randint(0, 256, (batch, *size, 3), dtype=torch.uint8) for _ in session.get_inputs()]
        with torch.no_grad():
            expected = PhotographToMaps(model, dynamic=dynamic)(*given)
        names = [one.name for one in session.get_inputs()]
        found = session.run(["depth", "mask"], dict(zip(names, (one.numpy() for one in given), strict=True)))
        for name, plane in zip(("depth", "mask"), found, strict=True):
            assert plane.shape == (batch, *size)
            assert relative(plane, expected[name].numpy()).max() < 1e-3, (name, size)
