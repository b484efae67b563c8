"""Batch norm's statistics in validation: by hand, left alone where frozen, and those of the weights that are kept."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.running import execute
from torch import Tensor, nn

from dmx.config import parse_experiment
from dmx.config.experiment import decisive
from dmx.experiment import prepare
from dmx.experiment.trained import trained
from dmx.quartet import Batch
from dmx.tracking import Home
from dmx.tracking.home import CHECKPOINT
from dmx.training.batch_norm import SAMPLES, fresh_statistics, learning_norms
from dmx.training.checkpoint import load_state
from dmx.training.device import resolve_device

Make = Callable[..., dict[str, Any]]
CPU = resolve_device("cpu", "float32", False, False, 0.0)


class Normed(nn.Module):
    """One norm that learns, and one that is frozen behind a dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.learning, self.dropout, self.frozen = nn.BatchNorm2d(3), nn.Dropout(0.5), nn.BatchNorm2d(3)

    def train(self, mode: bool = True) -> "Normed":
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, image: Tensor, background: Tensor | None) -> Tensor:
        return self.frozen(self.dropout(self.learning(image)))  # type: ignore[no-any-return]


def batch(image: Tensor) -> Batch:
    plane = torch.ones(len(image), 1, *image.shape[2:])
    return Batch(tuple("ab"), image, None, plane, plane > 0, plane, plane > 0)


def test_they_are_the_mean_of_the_batches_and_training_keeps_its_own() -> None:
    torch.manual_seed(0)
    net, images = Normed(), [torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5) + 1]
    net.learning.running_mean.fill_(7)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    random = torch.get_rng_state()
    with fresh_statistics(net, lambda: map(batch, images), CPU):
        mean = torch.stack([one.mean((0, 2, 3)) for one in images]).mean(0)
        variance = torch.stack([one.transpose(0, 1).flatten(1).var(1) for one in images]).mean(0)
        torch.testing.assert_close(net.learning.running_mean, mean)
        torch.testing.assert_close(net.learning.running_var, variance)
        assert torch.equal(net.frozen.running_mean, torch.zeros(3))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training
    assert net.learning.momentum == 0.1
    assert torch.equal(random, torch.get_rng_state())  # dropout does nothing


def test_training_keeps_its_own_whatever_ends_the_validation() -> None:
    net = Normed()
    try:
        with fresh_statistics(net, lambda: [batch(torch.rand(2, 3, 4, 4) + 5)], CPU):
            assert net.learning.running_mean.min() > 5
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert torch.equal(net.learning.running_mean, torch.zeros(3))


def test_nothing_is_left_changed_where_the_pictures_break_off() -> None:
    def broken() -> Iterator[Batch]:
        yield batch(torch.rand(2, 3, 4, 4) + 5)
        raise KeyboardInterrupt

    net = Normed()
    with pytest.raises(KeyboardInterrupt), fresh_statistics(net, broken, CPU):
        pass
    assert net.learning.momentum == 0.1
    assert net.training
    assert torch.equal(net.learning.running_mean, torch.zeros(3))


def test_without_a_norm_that_learns_no_picture_is_read() -> None:
    def none() -> list[Batch]:
        raise AssertionError

    with fresh_statistics(nn.Conv2d(3, 1, 1), none, CPU):
        pass


@pytest.mark.parametrize("size", [3, 5, 100])
def test_the_pictures_are_the_same_training_samples_in_whole_batches(tiny: Make, tmp_path: Path, size: int) -> None:
    stages = [{"epochs": 1, "size": 16, "batch_size": 4}, {"epochs": 1, "size": [32, 48], "batch_size": size}]
    prepared = prepare(parse_experiment(tiny(stages=stages, augment=["horizontal_flip"]), "test"), Home(tmp_path))
    first, again = ([*prepared.loaders.calibration()] for _ in range(2))
    count = len(prepared.split.train)
    assert [len(one) for one in first] == ([size] * (min(count, SAMPLES) // size) or [count])
    assert {one for batch in first for one in batch.ids} <= {*prepared.split.train}
    assert all(batch.image.shape[2:] == (32, 48) for batch in first)
    assert all(
        torch.equal(*pair) for pair in zip([one.image for one in first], [one.image for one in again], strict=True)
    )


def test_the_best_weights_have_the_statistics_of_their_validation(tiny: Make, tmp_path: Path) -> None:
    data = tiny(training={"ema_decay": 0.5})
    execute(data, tmp_path)
    model = trained(Home(tmp_path), "r").model
    kept = [norm.running_var.clone() for norm in learning_norms(model)]
    loaders = prepare(parse_experiment(data, "test"), Home(tmp_path)).loaders
    with fresh_statistics(model, loaders.calibration, CPU):
        taken = [norm.running_var.clone() for norm in learning_norms(model)]
    assert len(kept) > 5
    torch.testing.assert_close(kept, taken, rtol=1e-4, atol=1e-6)


def test_running_statistics_are_validated_where_they_are_wanted(tiny: Make, tmp_path: Path) -> None:
    data = tiny(training={"batch_norm": "running"}, stages=[{"epochs": 1, "size": 16, "batch_size": 4}])
    execute(data, tmp_path)
    weights = [trained(Home(tmp_path), "r").model.state_dict()]
    weights.append(load_state(Home(tmp_path).run("r") / CHECKPOINT)["model"])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_a_run_with_fresh_statistics_has_the_fingerprint_of_one_before_the_setting(tiny: Make) -> None:
    fresh, running = (parse_experiment(tiny(training={"batch_norm": one}), "test") for one in ("fresh", "running"))
    assert "batch_norm" not in decisive(fresh.dump())["training"]
    assert fresh.fingerprint != running.fingerprint
