import os
from itertools import product

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

import dmx.weighting  # noqa: F401  registers
from dmx.losses.bce import bce
from dmx.losses.l1 import l1
from dmx.models import DepthMaskModel, EncoderDecoder, make_link
from dmx.models.depthmasknet import depthmasknet
from dmx.quartet import Batch, DepthSpec
from dmx.registry import weightings
from dmx.training.checkpoint import load_state, save_state
from dmx.training.device import DeviceConfig
from dmx.training.distributed import join_process_group
from dmx.training.gradients import gram, shared_parameters
from dmx.training.step import JointLoss, Learner
from dmx.weighting.fixed import fixed
from dmx.weighting.kinds import GradientWeighting

CPU = DeviceConfig(torch.device("cpu"), torch.float32, torch.contiguous_format, compile=False)


class Noted(GradientWeighting):
    """Answers with given weights and keeps what it was asked."""

    def __init__(self, on="parameters", alpha=(0.25, 3.0), whole=False):
        super().__init__(("mask", "depth"), on)
        self.alpha, self.whole = torch.tensor(alpha), whole

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
    learner.forward_backward(batch, learner.model)
    learner.update()
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
def test_where_whole_losses_are_weighed_the_heads_get_their_weight_too(on):
    batch = batch_of()
    learner = learner_with(Noted(on, whole=True), lr=0.0)
    mask, depth = each_task(learner, batch)
    got = gradients_of(learner, batch)
    for name in got:
        expected = sum(w * task[name] for w, task in ((0.25, mask), (3, depth)) if name in task)
        torch.testing.assert_close(got[name], expected)


def test_who_weighs_whole_losses():
    """GradNorm by its algorithm 1, Nash-MTL by its algorithm 1 and its code; the others weigh what is shared."""
    built = {name: one.params().bind()(("mask", "depth")) for name, one in weightings.items()}
    assert {name for name, one in built.items() if getattr(one, "whole", False)} == {"gradnorm", "nash_mtl"}


@pytest.mark.parametrize("name", weightings)
def test_no_weighting_sees_the_scale_of_half_precision(name):
    """Nor does it learn otherwise: weights and parameters after four steps, before each of which the scale doubles."""
    seen = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1, enabled=True)):
        torch.manual_seed(0)
        learner = learner_with(weightings[name].params().bind()(("mask", "depth")), scaler)
        for seed in range(4):
            learner.forward_backward(batch_of(seed=seed), learner.model)
            learner.update()
        seen.append((learner.loss.weighting.weights(), [*learner.model.parameters(), *learner.loss.parameters()]))
    (plain, one), (scaled, other) = seen
    assert scaled == pytest.approx(plain, rel=1e-5)
    for p, q in zip(one, other, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", weightings)
def test_a_weighting_goes_on_from_a_checkpoint_to_the_same_bits(name, tmp_path):
    """Five steps in one go, and three, a file, and two: Adam's moments of FAMO and first losses of GradNorm as well."""

    def begun():
        torch.manual_seed(0)
        return learner_with(weightings[name].params().bind()(("mask", "depth")))

    def steps(learner, seeds):
        for seed in seeds:
            learner.forward_backward(batch_of(seed=seed), learner.model)
            learner.update()

    whole = begun()
    steps(whole, range(5))
    first = begun()
    steps(first, range(3))
    parts = {"model": first.model, "loss": first.loss, "optimizer": first.optimizer}
    save_state(tmp_path / "c.pt", {"random": torch.get_rng_state(), **{k: p.state_dict() for k, p in parts.items()}})
    state, second = load_state(tmp_path / "c.pt"), begun()
    for key, part in (("model", second.model), ("loss", second.loss), ("optimizer", second.optimizer)):
        part.load_state_dict(state[key])
    torch.set_rng_state(state["random"])
    steps(second, range(3, 5))
    for one, other in ((whole.model, second.model), (whole.loss, second.loss)):
        for key, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key
    assert whole.loss.weighting.weights() == second.loss.weighting.weights()


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
        learner.forward_backward(batch_of(), learner.model)
        learner.update()
    torch.testing.assert_close(plain.loss.weighting.asked[1], scaled.loss.weighting.asked[1])
    for one, other in zip(plain.model.parameters(), scaled.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # the very first step is left out
def test_a_step_that_overflows_is_left_out():
    learner = learner_with(Noted(), torch.amp.GradScaler("cpu", init_scale=2.0**127, enabled=True), weight=100.0)
    before = [p.clone() for p in learner.model.parameters()]
    learner.forward_backward(batch_of(), learner.model)
    learner.update()
    assert not learner.loss.weighting.asked[1].isfinite().all()
    assert all(torch.equal(p, q) for p, q in zip(learner.model.parameters(), before, strict=True))
    assert learner.scaler.get_scale() < 2.0**127


ASKED = ("parameters", "features")
WEIGHTED = (*ASKED, *weightings)


def weighted(name: str):
    torch.manual_seed(0)
    return learner_with(Noted(name) if name in ASKED else weightings[name].params().bind()(("mask", "depth")))


def in_a_group(rank: int, folder: str, port: int) -> None:
    """As under torchrun, which holds the store where the processes meet."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with join_process_group("cpu"):
        learn(rank, folder)


def learn(rank: int, folder: str) -> None:
    whole = batch_of()
    half = slice(2 * rank, 2 * rank + 2)
    tensors = {key: value[half] for key, value in vars(whole).items() if value is not None}
    for name in WEIGHTED:
        learner = weighted(name)
        for _ in range(3):
            learner.forward_backward(Batch(**tensors, background=None), learner.model)
            learner.update()
        asked = getattr(learner.loss.weighting, "asked", None)
        torch.save([learner.model.state_dict(), asked], f"{folder}/{name}-{rank}.pt")


def test_two_processes_learn_as_one_does(tmp_path):
    """Each has half of the samples; gradients, losses and Gram matrices are averaged, so that all take one step."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    mp.spawn(in_a_group, (str(tmp_path), store.port), nprocs=2)
    for name, rank in product(WEIGHTED, range(2)):
        learner = weighted(name)
        for _ in range(3):
            learner.forward_backward(batch_of(), learner.model)
            learner.update()
        state, asked = torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True)
        for key, value in learner.model.state_dict().items():
            torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-6)
        if name in ASKED:
            torch.testing.assert_close(list(asked), list(learner.loss.weighting.asked), rtol=1e-5, atol=1e-6)
