"""Every registered model exports to ONNX and predicts there as in torch, at sizes that were not traced."""

import onnxruntime
import pytest
import torch

from dmx.deliver.export.compare import relative
from dmx.deliver.export.write import quiet, traced, write_onnx
from dmx.models import DepthMaskModel, make_link
from dmx.models.joint import margins
from dmx.quartet import DepthSpec
from dmx.registry import models

MODELS = [pytest.param(component, id=name) for name, component in models.items()]
ODD = (47, 61)


@pytest.fixture(params=MODELS, scope="module")
def model(request):
    """A small network of each kind, whose size is not free where `fixed_size` says why."""
    torch.manual_seed(0)
    component = request.param
    net = component.params(**component.facts.get("tested", {})).bind()().eval()
    made = DepthMaskModel(net, make_link("exp", DepthSpec("metric", 0.5, 10.0), net)).eval()
    return made, component.facts.get("fixed_size")


def test_its_file_of_one_size_predicts_what_it_predicts(model, tmp_path):
    """The command's default, at an odd size, which is padded."""
    compare(model[0], ODD, [ODD, ODD], dynamic=False, path=tmp_path / "network.onnx")


def test_its_file_of_any_size_predicts_what_it_predicts(model, tmp_path):
    """At three sizes, two of them with an odd number of blocks."""
    model, fixed = model
    if fixed:
        pytest.skip(fixed)
    net = model.net
    first = tuple(side + sum(margins(side, net)) for side in ODD)
    step = net.multiple
    sizes = [first, (first[0] + step, first[1]), (first[0] + 2 * step, first[1] + 3 * step)]
    compare(model, first, sizes, dynamic=True, path=tmp_path / "network.onnx")


def compare(model, first, sizes, *, dynamic, path):
    """Export at one size, and predict pictures of all: one at the first, two at the second and so on."""
    with quiet():
        write_onnx(traced(model, first, dynamic), model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, size in enumerate(sizes, start=1):
        given = [torch.randint(0, 256, (batch, *size, 3), dtype=torch.uint8) for _ in session.get_inputs()]
        with torch.no_grad():
            prediction = model(*(one.permute(0, 3, 1, 2) / 255 for one in given), *[None] * (2 - len(given)))
        expected = {"depth": prediction.depth, "mask": prediction.mask_logits.sigmoid()}
        names = [one.name for one in session.get_inputs()]
        found = session.run(["depth", "mask"], dict(zip(names, (one.numpy() for one in given), strict=True)))
        for name, plane in zip(("depth", "mask"), found, strict=True):
            assert plane.shape == (batch, *size)
            assert relative(plane, expected[name][:, 0].numpy()).max() < 1e-3, (name, size)
