from itertools import product

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

from dmx.losses.bce import bce
from dmx.losses.l1 import l1
from dmx.models import DepthMaskModel, EncoderDecoder, make_link
from dmx.models.depthmasknet import depthmasknet
from dmx.quartet import Batch, DepthSpec
from dmx.training.execution import Execution
from dmx.training.gradients import gram, shared_parameters
from dmx.training.joint_loss import JointLoss
from dmx.training.step import Learner
from dmx.weighting.fixed import fixed
from dmx.weighting.kinds import GradientWeighting

CPU = Execution(torch.device("cpu"), torch.float32, torch.contiguous_format, compile=False)


class Noted(GradientWeighting):
    """Answers with given weights and keeps what it was asked."""

    def __init__(self, on="parameters", alpha=(0.25, 3.0)):
        super().__init__(("mask", "depth"), on)
        self.alpha = torch.tensor(alpha)

    def forward(self, losses, gram):
        self.asked = losses, gram
        return super().forward(losses, gram)

    def solve(self, L, G, finite):
        return self.alpha


class Small(EncoderDecoder):
    """One shared convolution, a scale that both heads use, a head for each task, and something that nobody uses."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv2d(3, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(()))
        self.mask_head, self.depth_head, self.idle = nn.Conv2d(4, 1, 1), nn.Conv2d(4, 1, 1), nn.Conv2d(4, 1, 1)

    def encode(self, image, background):
        x = self.encoder(image)
        return [x.relu(), self.scale * x.tanh(), x.exp(), image]  # the third is not used, the last is not learned

    def decode(self, features):
        depth = self.depth_head(features[0] * features[1]) + features[3].mean(1, keepdim=True)
        return self.mask_head(features[0] + features[1]), depth


SHARED = {"net.encoder.weight", "net.encoder.bias", "net.scale"}


def batch_of(count=4, seed=1) -> Batch:
    g = torch.Generator().manual_seed(seed)
    image, depth = torch.rand(count, 3, 6, 5, generator=g), 1 + torch.rand(count, 1, 6, 5, generator=g)
    mask, all_known = (depth > 1.5).float(), torch.ones(count, 1, 6, 5, dtype=torch.bool)
    return Batch(tuple(map(str, range(count))), image, None, mask, all_known, depth, all_known)


def learner_with(weighting, scaler=None, lr=0.1, weight=1.0) -> Learner:
    torch.manual_seed(0)
    model = DepthMaskModel(Small(), make_link("softplus", DepthSpec("metric", 0.5, 4.0)))
    loss = JointLoss([("bce", weight, bce)], [("l1", weight, l1)], weighting)
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    shared = shared_parameters(model, (6, 5))
    return Learner(model, loss, optimizer, schedule, scaler or CPU.scaler(), CPU, None, shared)


def gradients_of(learner: Learner, batch: Batch) -> dict[str, torch.Tensor]:
    learner.step(batch, learner.model)
    return {name: p.grad.clone() for name, p in learner.model.named_parameters() if p.grad is not None}


def each_task(learner: Learner, batch: Batch) -> list[dict[str, torch.Tensor]]:
    """By autograd, what each task alone asks of each parameter."""
    losses, _ = learner.loss(learner.model(batch.image, None), batch)
    names = dict(learner.model.named_parameters())
    found = []
    for loss in losses.values():
        given = torch.autograd.grad(loss, list(names.values()), retain_graph=True, allow_unused=True)
        found.append({name: g for name, g in zip(names, given, strict=True) if g is not None})
    return found


def test_what_both_tasks_depend_on_is_shared():
    learner = learner_with(Noted())
    named = zip(dict(learner.model.named_parameters()), learner.shared, strict=True)
    assert {name for name, shared in named if shared} == SHARED
    model = DepthMaskModel(depthmasknet(width=4), make_link("identity", DepthSpec("relative", 0.0, 1.0)))
    shared = shared_parameters(model, (16, 16))
    for (name, _), is_shared in zip(model.named_parameters(), shared, strict=True):
        assert is_shared == ("decoder" not in name), name


def test_looking_for_it_changes_nothing():
    model = DepthMaskModel(depthmasknet(width=4), make_link("identity", DepthSpec("relative", 0.0, 1.0))).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shared_parameters(model, (16, 16))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_gram_by_hand():
    g, h = [torch.tensor([1.0, 2.0]), None], [torch.tensor([3.0, -1.0]), torch.tensor([[2.0]])]
    assert gram([g, h]).tolist() == [[5.0, 1.0], [1.0, 14.0]]


def test_on_parameters_the_shared_get_the_weighted_sum_and_the_heads_their_own():
    weighting, batch = Noted(), batch_of()
    learner = learner_with(weighting, lr=0.0)
    mask, depth = each_task(learner, batch)
    got = gradients_of(learner, batch)
    assert got.keys() == mask.keys() | depth.keys()
    for name in SHARED:
        torch.testing.assert_close(got[name], 0.25 * mask[name] + 3 * depth[name])
    for name in got.keys() - SHARED:
        torch.testing.assert_close(got[name], (mask if "mask" in name else depth)[name])
    losses, G = weighting.asked
    flat = [torch.cat([task[name].flatten() for name in sorted(SHARED)]) for task in (mask, depth)]
    torch.testing.assert_close(G, torch.stack(flat) @ torch.stack(flat).T)
    torch.testing.assert_close(
        losses, torch.stack(list(learner.loss(learner.model(batch.image, None), batch)[0].values()))
    )


def test_on_features_the_encoder_gets_the_gradient_of_the_weighted_sum():
    weighting, batch = Noted("features"), batch_of()
    learner = learner_with(weighting, lr=0.0)
    mask, depth = each_task(learner, batch)
    features = learner.model.encode(batch.image, None)
    losses, _ = learner.loss(learner.model.decode(features, batch.image), batch)
    flat = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, features[:2], retain_graph=True)])
        for loss in losses.values()
    ]
    got = gradients_of(learner, batch)
    torch.testing.assert_close(weighting.asked[1], torch.stack(flat) @ torch.stack(flat).T)
    for name in SHARED:
        torch.testing.assert_close(got[name], 0.25 * mask[name] + 3 * depth[name])
    for name in got.keys() - SHARED:
        torch.testing.assert_close(got[name], (mask if "mask" in name else depth)[name])


@pytest.mark.parametrize("on", ["parameters", "features"])
def test_equal_weights_are_the_plain_sum(on):
    plain = gradients_of(learner_with(fixed(("mask", "depth"))), batch_of())
    weighted = gradients_of(learner_with(Noted(on, (1.0, 1.0))), batch_of())
    assert plain.keys() == weighted.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(weighted[name], gradient)


@pytest.mark.parametrize("on", ["parameters", "features"])
def test_the_scale_of_half_precision_is_neither_in_the_gram_matrix_nor_in_the_step(on):
    plain, scaled = (
        learner_with(Noted(on), scaler)
        for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=True))
    )
    for learner in (plain, scaled):
        learner.step(batch_of(), learner.model)
    torch.testing.assert_close(plain.loss.weighting.asked[1], scaled.loss.weighting.asked[1])
    for one, other in zip(plain.model.parameters(), scaled.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # the very first step is left out
def test_a_step_that_overflows_is_left_out():
    learner = learner_with(Noted(), torch.amp.GradScaler("cpu", init_scale=2.0**127, enabled=True), weight=100.0)
    before = [p.clone() for p in learner.model.parameters()]
    learner.step(batch_of(), learner.model)
    assert not learner.loss.weighting.asked[1].isfinite().all()
    assert all(torch.equal(p, q) for p, q in zip(learner.model.parameters(), before, strict=True))
    assert learner.scaler.get_scale() < 2.0**127


WEIGHTED = ("fixed", "parameters", "features")


def weighted(name: str):
    return learner_with(fixed(("mask", "depth"), depth=2.0) if name == "fixed" else Noted(name))


def in_a_group(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    whole = batch_of()
    half = slice(2 * rank, 2 * rank + 2)
    tensors = {key: value[half] for key, value in vars(whole).items() if value is not None}
    for name in WEIGHTED:
        learner = weighted(name)
        for _ in range(3):
            learner.step(Batch(**tensors, background=None), learner.model)
        asked = getattr(learner.loss.weighting, "asked", None)
        torch.save([learner.model.state_dict(), asked], f"{folder}/{name}-{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_learn_as_one_does(tmp_path):
    """Each has half of the samples; gradients, losses and Gram matrices are averaged, so that all take one step."""
    mp.spawn(in_a_group, (str(tmp_path),), nprocs=2)
    for name, rank in product(WEIGHTED, range(2)):
        learner = weighted(name)
        for _ in range(3):
            learner.step(batch_of(), learner.model)
        state, asked = torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True)
        for key, value in learner.model.state_dict().items():
            torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-6)
        if name != "fixed":
            torch.testing.assert_close(list(asked), list(learner.loss.weighting.asked), rtol=1e-5, atol=1e-6)
