"""Which trials are finalists, who leads, and who is out: on samples whose errors are known."""

from pathlib import Path

import numpy as np
import pytest

from dmx.compare.race import Finalist, certainty, compared, means, standings
from dmx.config.objective import Goal
from dmx.outcome import Outcome
from dmx.registry import load
from dmx.results.ranking import Entry
from dmx.sample_table import Meaning, SampleTable
from dmx.tracking.home import BEST_SAMPLES, Home
from dmx.training.result import BestEpoch, RunResult

load()  # goals are checked against the registered metrics
MAE = [Goal(metric="val/depth/mae_pooled", direction="minimize")]
MEANING = {"depth/mae": Meaning("ratio", higher_is_better=False)}


def run(home: Home, name: str, errors: np.ndarray, outcome: Outcome = Outcome.COMPLETE, **record: float) -> Entry:
    """A run with one pixel a sample whose absolute errors are these."""
    ids = [str(i) for i in range(len(errors))]
    home.run(name).mkdir(parents=True)
    sums = np.stack([errors, np.ones_like(errors)], axis=1)
    SampleTable(ids, ids, {"depth/mae": sums}, MEANING).save(home.run(name) / BEST_SAMPLES)
    mean = float(errors.mean())
    best = BestEpoch(1, 1, mean, {"val/depth/mae_pooled": mean})
    return Entry(name, RunResult(outcome, "", best, 1, 1, 1.0), {"parameters": 10.0, **record})


def test_the_mean_over_seeds_decides_and_not_the_luckiest_seed(tmp_path: Path) -> None:
    home, hard = Home(tmp_path), np.linspace(1, 2, 20)
    lucky = [run(home, f"lucky-{i}", hard + extra) for i, extra in enumerate((-0.5, 0.4, 0.4))]
    steady = [run(home, f"steady-{i}", hard + extra) for i, extra in enumerate((0.0, 0.01, -0.01))]
    first, second = standings(home, {"lucky": lucky, "steady": steady}, MAE)
    assert (first.trial, first.seeds, first.differences) == ("steady", 3, ())
    assert first.values == pytest.approx((1.5,))
    assert second.values == pytest.approx((1.6,))
    (apart,) = second.differences
    assert apart.value == pytest.approx(0.1)
    assert apart.verdict == "unclear"  # its seeds are 0.9 apart
    assert not second.clearly_worse
    assert certainty([first, second]) == "steady leads; it cannot be told apart from lucky."
    assert compared(second).startswith("+0.1 [-")


def test_what_every_seed_makes_worse_is_out(tmp_path: Path) -> None:
    home, hard = Home(tmp_path), np.linspace(1, 2, 20)
    good = [run(home, f"good-{i}", hard + extra) for i, extra in enumerate((0.0, 0.01))]
    bad = [run(home, f"bad-{i}", hard + extra) for i, extra in enumerate((0.5, 0.51))]
    failed = [run(home, "failed-0", hard, Outcome.DIVERGED)]
    found = standings(home, {"bad": bad, "failed": failed, "good": good}, MAE)
    assert [(one.trial, one.clearly_worse) for one in found] == [("good", False), ("bad", True)]
    assert certainty(found) == "The choice of good is sure: all others are clearly worse."


def test_one_seed_each_is_said_to_be_few(tmp_path: Path) -> None:
    home, hard = Home(tmp_path), np.linspace(1, 2, 20)
    noise = np.random.default_rng(0).normal(0.01, 0.3, 20)
    found = standings(home, {"a": [run(home, "a-0", hard)], "b": [run(home, "b-0", hard + noise)]}, MAE)
    assert certainty(found).endswith("Several `train_best.seeds` would say more.")


def test_with_several_objectives_one_that_is_better_in_another_stays(tmp_path: Path) -> None:
    """The costs have no samples: they decide by the knee, and put nobody out."""
    home, hard = Home(tmp_path), np.linspace(1, 2, 20)
    goals = [*MAE, Goal(metric="parameters", direction="minimize")]
    small, large = run(home, "small", hard, parameters=1.0), run(home, "large", hard - 0.01, parameters=100.0)
    assert means({"small": [small]}, goals) == {"small": [pytest.approx(1.5), 1.0]}
    first, second = standings(home, {"small": [small], "large": [large]}, goals)
    assert first.trial == "small"
    assert [one.verdict for one in second.differences] == ["network better"]
    assert not second.clearly_worse


def test_without_samples_nothing_is_known(tmp_path: Path) -> None:
    home, hard = Home(tmp_path), np.full(20, 1.5)
    runs = {name: [run(home, name, hard + extra)] for name, extra in (("a", 0.0), ("b", 0.5))}
    (home.run("b") / BEST_SAMPLES).unlink()
    assert standings(home, runs, MAE) == [Finalist("a", (1.5,), 1), Finalist("b", (2.0,), 1)]
    assert standings(home, {"none": []}, MAE) == []
