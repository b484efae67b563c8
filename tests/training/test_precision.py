"""Precision below float32 is taken only where it gives what rounding explains; a wrong kernel is found and named.

The wrong kernels here are made: parts that add an error, or NaN, wherever their input or autocast says that the
precision is lower. On processors where torch's own are wrong, these are found in the same way (`test_models_learn`).
"""

import pytest
import torch
from torch import Tensor, nn

import dmx.models  # noqa: F401  registers
from dmx.errors import UserError
from dmx.models import DepthMaskModel, EncoderDecoder, make_link
from dmx.quartet import Batch, DepthSpec
from dmx.training.device import DeviceConfig
from dmx.training.precision import checked, wrong_part

SPEC = DepthSpec("metric", 0.5, 10.0)


def execution(dtype: torch.dtype = torch.bfloat16) -> DeviceConfig:
    return DeviceConfig(torch.device("cpu"), dtype, torch.contiguous_format, compile=False)


class Wrong(nn.Conv2d):
    """A convolution whose kernel is wrong in lower precision, by a share of its output's norm."""

    error = 1.0

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if not torch.is_autocast_enabled("cpu"):
            return y
        noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(0)).to(y.dtype)
        return y + self.error * noise * y.norm() / noise.norm()


class Function(nn.Module):
    """A part with children whose own functional step is wrong in lower precision."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(4, 4, 3, padding=1), nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.conv(x))
        return y.flip(-1) if torch.is_autocast_enabled("cpu") else y


class Net(EncoderDecoder):
    """One part that may be wrong between others that are right, some of which change their input in place."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU(inplace=True))
        self.middle, self.last = middle, nn.Conv2d(4, 4, 3, padding=1)
        self.mask_head, self.depth_head = nn.Conv2d(4, 1, 1), nn.Conv2d(4, 1, 1)

    def encode(self, image: Tensor, background: Tensor | None) -> list[Tensor]:
        return [self.last(self.middle(self.stem(image)).relu_())]

    def decode(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.mask_head(features[0]), self.depth_head(features[0])


def model(middle: nn.Module) -> DepthMaskModel:
    torch.manual_seed(0)
    return DepthMaskModel(Net(middle), make_link("sigmoid", SPEC)).train()


@pytest.fixture
def batch() -> Batch:
    g = torch.Generator().manual_seed(1)
    image, one = torch.rand(4, 3, 16, 16, generator=g), torch.ones(4, 1, 16, 16)
    return Batch(tuple("abcd"), image, None, one, one.bool(), one, one.bool())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_rounding_explains_is_right(dtype: torch.dtype, batch: Batch) -> None:
    one = model(nn.Conv2d(4, 4, 3, padding=1))
    before = {name: value.clone() for name, value in one.state_dict().items()}
    assert wrong_part(one, batch, execution(dtype)) is None
    assert one.training
    assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())
    assert one.net.stem[2].inplace
    assert not any(part._forward_hooks for part in one.modules())


@pytest.mark.parametrize("error", [1.0, 0.1, float("nan"), float("inf")])
def test_a_wrong_kernel_is_named_and_not_what_follows_it(
    error: float, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wrong, "error", error)
    assert wrong_part(model(Wrong(4, 4, 3, padding=1)), batch, execution()) == "middle (Wrong)"


def test_in_float32_nothing_is_asked(batch: Batch) -> None:
    assert wrong_part(model(Wrong(4, 4, 3, padding=1)), batch, execution(torch.float32)) is None


def test_a_step_between_the_smallest_parts_is_laid_on_the_part_that_takes_it(batch: Batch) -> None:
    assert wrong_part(model(Function()), batch, execution()) == "middle (Function)"


def test_a_part_that_hardly_reaches_the_output_is_found_too(batch: Batch) -> None:
    """As behind a layer scale of 1e-6, which grows in training."""
    one = model(Wrong(4, 4, 3, padding=1))
    with torch.no_grad():
        one.net.last.weight.mul_(1e-6)
    assert wrong_part(one, batch, execution()) == "middle (Wrong)"


def test_what_cancels_out_is_no_fault_of_the_kernel(batch: Batch) -> None:
    """A filter of sum 0 on an almost even picture: rounding alone changes its small output altogether."""
    edge = nn.Conv2d(4, 4, 3, padding=1, bias=False, padding_mode="replicate")
    with torch.no_grad():
        edge.weight.fill_(0.3)
        edge.weight[:, :, 1, 1] = -8 * 0.3
    one = model(edge)
    even = Batch(**{**vars(batch), "image": 0.7 + 1e-3 * batch.image})
    assert wrong_part(one, even, execution()) is None


def test_a_network_that_overflows_in_float16_is_found(batch: Batch) -> None:
    one = model(nn.Conv2d(4, 4, 3, padding=1))
    with torch.no_grad():
        one.net.middle.weight.mul_(1e6)
    assert wrong_part(one, batch, execution(torch.float16)) == "middle (Conv2d)"
    assert wrong_part(one, batch, execution(torch.bfloat16)) is None


def test_what_was_asked_for_is_refused_and_what_was_not_falls_back(
    batch: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    wrong, right = model(Wrong(4, 4, 3, padding=1)), model(nn.Conv2d(4, 4, 3, padding=1))
    with pytest.raises(UserError) as caught:
        checked(wrong, [batch], execution(), True, "training.precision")
    assert str(caught.value) == (
        "training.precision is bfloat16, but in bfloat16 middle (Wrong) gives something else than in float32 on this "
        "machine's cpu, more than rounding explains; set it to auto or float32, or take another machine or version of "
        "torch."
    )
    fallen = checked(wrong, [batch], execution(), False, "training.precision")
    assert fallen.facts()["precision"] == "float32"
    assert fallen.facts()["precision_refused"] == "bfloat16: wrong in middle (Wrong)"
    assert caplog.messages == [
        "In bfloat16 middle (Wrong) gives something else than in float32, which is taken instead."
    ]
    for explicit in (True, False):
        assert checked(right, [batch], execution(), explicit, "training.precision") == execution()
    assert "precision_refused" not in execution().facts()
