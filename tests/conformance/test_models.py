"""What every registered model must do, whatever it looks like inside."""

import re
from pathlib import Path

import pytest
import segmentation_models_pytorch
import torch

import dmx.models  # registers
from dmx.errors import UserError
from dmx.models import DepthMaskModel, JointNet, describe_parameters, make_link
from dmx.models.joint import margins
from dmx.quartet import DepthSpec
from dmx.registry import Choice, models

MODELS = [pytest.param(component, id=name) for name, component in models.items()]
VARIANTS = [
    pytest.param(component, {name: value}, id=f"{model}-{name}={value}")
    for model, component in models.items()
    for name, search in component.search_space().items()
    if isinstance(search, Choice)
    for value in search.values
]
every_model = pytest.mark.parametrize("component", MODELS)


def built(component, **parameters):
    torch.manual_seed(0)
    return component.params(**component.facts.get("tested", {}) | parameters).bind()()


def taken(net: JointNet, size: tuple[int, int]) -> tuple[int, int]:
    """`size`, or the next that the network takes as it is."""
    height, width = (side + sum(margins(side, net)) for side in size)
    return height, width


def pictures(net: JointNet, size: tuple[int, int] = (64, 32)) -> torch.Tensor:
    return torch.randn(2, 2, 3, *taken(net, size), generator=torch.Generator().manual_seed(1))


@every_model
def test_gives_two_maps_of_the_pictures_size(component):
    net = built(component).eval()
    assert isinstance(net, JointNet)
    with torch.no_grad():
        mask_logits, depth_raw = net(*pictures(net))
    assert mask_logits.shape == depth_raw.shape == (2, 1, *taken(net, (64, 32)))
    assert mask_logits.dtype == depth_raw.dtype == torch.float32
    assert not torch.equal(mask_logits, depth_raw)


@every_model
def test_takes_its_declared_multiple(component):
    net = built(component).eval()
    size = (3 * net.multiple, 2 * net.multiple) if net.multiple > 1 else (75, 50)
    with torch.no_grad():
        mask_logits, _ = net(*pictures(net, size))
    assert mask_logits.shape[2:] == taken(net, size)


@pytest.mark.parametrize(("component", "parameters"), VARIANTS)
def test_every_searched_choice_runs(component, parameters):
    net = built(component, **parameters).eval()
    with torch.no_grad():
        mask_logits, depth_raw = net(*pictures(net))
    assert mask_logits.shape == depth_raw.shape == (2, 1, *taken(net, (64, 32)))
    assert mask_logits.isfinite().all()
    assert depth_raw.isfinite().all()


@every_model
def test_same_seed_same_network(component):
    first, again = (built(component).eval() for _ in range(2))
    with torch.no_grad():
        outputs = [torch.cat(net(*pictures(net))) for net in (first, again)]
    assert torch.equal(*outputs)


@every_model
def test_every_parameter_learns(component):
    net = built(component).train()
    mask_logits, depth_raw = net(*pictures(net))
    (mask_logits.square().mean() + depth_raw.square().mean()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert describe_parameters(net) == sum(p.grad.numel() for p in net.parameters())


@every_model
def test_samples_of_a_batch_do_not_mix(component):
    """In float64: libraries add up batches of other sizes in another order, which shows in float32."""
    net = built(component).eval().double()
    image, background = pictures(net).double()
    with torch.no_grad():
        together = net(image, background)[1][:1]
        alone = net(image[:1], background[:1])[1]
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


@every_model
def test_needs_a_background_only_if_it_says_so(component):
    with_background, image_alone = built(component), built(component, inputs="image").eval()
    image, _ = pictures(image_alone)
    assert with_background.needs_background
    assert not image_alone.needs_background
    with torch.no_grad():
        assert image_alone(image, None)[0].shape == (2, 1, *image.shape[2:])
    with pytest.raises(UserError, match="set the model's inputs to 'image'"):
        with_background(image, None)


@every_model
def test_the_difference_stands_where_the_background_stood(component):
    """With the same weights: what `image+background` makes of image and difference, given as pictures."""
    by_background, by_difference = built(component).eval(), built(component, inputs="image+difference").eval()
    image, background = pictures(by_background)
    assert by_difference.needs_background
    with torch.no_grad():
        given = by_background(image, image - background)
        own = by_difference(image, background)
    torch.testing.assert_close(own, given, rtol=0, atol=0)


@every_model
def test_becomes_a_prediction(component):
    spec = DepthSpec("metric", 0.5, 8.0)
    net = built(component, inputs="image")
    model = DepthMaskModel(net, make_link("sigmoid", spec)).eval()
    with torch.no_grad():
        prediction = model(pictures(net)[0], None)
    assert prediction.depth.min() >= 0.5
    assert prediction.depth.max() <= 8


def test_no_model_is_left_out():
    """A network whose file dmx/models/__init__.py does not import would be searched and tested nowhere."""
    folder = Path(dmx.models.__file__).parent
    named = {
        name for file in folder.glob("*.py") for name in re.findall(r"models\.register\(\s*\"(\w+)", file.read_text())
    }
    tested = {case.values[0].name for case in MODELS}
    assert "depthmasknet" in named
    assert tested >= {*named} | {*segmentation_models_pytorch.MODEL_ARCHITECTURES_MAPPING}
    assert {case.values[0].name for case in VARIANTS} == tested
