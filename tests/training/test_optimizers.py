import pytest
import torch
from torch import nn

import dmx.training.optimizers  # noqa: F401  registers
from dmx.registry import optimizers
from dmx.training.optimizers import sgd, sgd_schedulefree
from dmx.training.validation import averaged_weights

adam, adamw, lion, nadam, nadamw, rmsprop, muon = (
    optimizers[name].function for name in ("adam", "adamw", "lion", "nadam", "nadamw", "rmsprop", "muon")
)

ADAM = {"beta1": 0.9, "beta2": 0.95, "weight_decay": 0.0}
"""What timm's Muon has for what it leaves to AdamW."""


QUINTIC = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""The coefficients of timm's Newton-Schulz iteration."""


def one() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0]))


def test_sgd_by_hand():
    """Gradient 2, then 2 again with 0.9 of the first step: 1 - 0.1·2 - 0.1·(2 + 0.9·2)."""
    p = one()
    optimizer = sgd([p], lr=0.1, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        (2 * p).sum().backward()
        optimizer.step()
    assert p.item() == pytest.approx(1 - 0.2 - 0.38)


@pytest.mark.parametrize("build", [adam, adamw, nadam])
def test_betas_and_decay_arrive(build):
    group = build([one()], lr=0.1, beta1=0.5, beta2=0.6, weight_decay=0.2).param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.1, (0.5, 0.6), 0.2)


def test_rmsprops_parameters_arrive():
    group = rmsprop([one()], lr=0.1, alpha=0.5, momentum=0.6, weight_decay=0.2).param_groups[0]
    assert [group[name] for name in ("lr", "alpha", "momentum", "weight_decay")] == [0.1, 0.5, 0.6, 0.2]


def test_nesterov_without_momentum_is_plain_descent():
    """torch refuses the pair; a search may well draw it."""
    group = sgd([one()], momentum=0.0, nesterov=True).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.0, False)


def test_adamw_decays_apart_from_the_gradient():
    """Without a gradient, Adam's decay is a gradient that it normalises; AdamW takes lr · decay of the weight."""
    p = one()
    optimizer = adamw([p], lr=0.1, weight_decay=0.5)
    p.grad = torch.zeros(1)
    optimizer.step()
    assert p.item() == pytest.approx(0.95)


@pytest.mark.parametrize("component", optimizers.values(), ids=list(optimizers))
def test_every_number_arrives_in_the_library(component):
    """Each at a value that no default has."""
    given = {
        name: info.annotation(0.123456 + place / 1000 + (name == "grow"))
        for place, (name, info) in enumerate(component.params.model_fields.items())
        if info.annotation is float
    }
    group = component.params(**given).bind()([one()]).param_groups[0]
    there = [item for value in group.values() for item in (value if isinstance(value, tuple | list) else [value])]
    assert {name for name, value in given.items() if value not in there} == set()


def test_lion_steps_by_the_sign():
    p = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = lion([p], lr=0.1)
    p.grad = torch.tensor([5.0, -0.001])
    optimizer.step()
    assert p.tolist() == pytest.approx([0.9, -1.9])


def test_muons_step_is_that_of_newton_and_schulz():
    """A gradient with singular values s becomes a step with five polynomials a x + b x³ + c x⁵ of s / |s|.

    Its length is that of Liu et al. 2025: 0.2 √(greater side). The iteration is in bfloat16, of 8 bits.
    """
    s, side = torch.tensor([1.0, 0.5, 0.1, 0.01]), 4
    generator = torch.Generator().manual_seed(0)
    U, V = (torch.linalg.qr(torch.randn(n, n, generator=generator)).Q for n in (side, 9 * side))
    p = nn.Parameter(torch.zeros(side, side, 3, 3))
    optimizer = muon([p], lr=0.1, momentum=0.5)
    p.grad = (U * s @ V[:side]).view_as(p)
    optimizer.step()
    x = s / s.norm()
    for a, b, c in QUINTIC:
        x = a * x + b * x**3 + c * x**5
    step = -U.T @ p.detach().view(side, -1) @ V.T
    assert step.diagonal().tolist() == pytest.approx((0.1 * 0.2 * 6 * x).tolist(), rel=0.03)
    assert (step - torch.nn.functional.pad(step.diagonal().diag(), (0, 8 * side))).abs().max() < 0.1 * 0.12
    assert x.min() > 0.95  # nearly orthogonal, though the gradient was not


def test_muon_steps_as_nadamw_where_it_is_told_to_fall_back():
    """What is in no hidden layer: the groups say so."""
    both = []
    for build in (
        lambda p: muon([{"params": [p], "use_fallback": True}], lr=0.1),
        lambda p: nadamw([p], lr=0.1, **ADAM),
    ):
        p = nn.Parameter(torch.ones(8, 8, 3, 3))
        optimizer = build(p)
        for k in (1.0, -0.3, 2.0):
            p.grad = k * torch.linspace(-1, 2, p.numel()).view_as(p)
            optimizer.step()
        both.append(p.detach())
    torch.testing.assert_close(*both, rtol=1e-4, atol=1e-4)  # its ε is another


def test_schedule_free_weights_are_an_average_between_steps():
    """Steps of 1, 1, 1 along a constant gradient of 1: z = -1, -2, -3, of which the mean is seen in evaluation."""
    p = nn.Parameter(torch.zeros(1))
    optimizer = sgd_schedulefree([p], lr=1.0, momentum=0.9)
    for _ in range(3):
        p.grad = torch.ones(1)
        optimizer.step()
    with averaged_weights(optimizer):
        assert p.item() == pytest.approx(-2)
    assert p.item() == pytest.approx(0.9 * -2 + 0.1 * -3)


def test_other_optimizers_have_one_set_of_weights():
    p = one()
    with averaged_weights(sgd([p])):
        assert p.item() == 1
