"""Pruners on curves made by hand, in a real study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from dmx.config import parse_study
from dmx.sweep.pruning import make_pruner
from dmx.sweep.storage import open_journal

Make = Callable[..., dict[str, Any]]
GOOD, FAIR, BAD = [4.0, 3.0, 2.0, 1.0], [4.0, 3.5, 3.0, 2.5], [9.0, 8.0, 8.0, 8.0]


def pruned_at(folder: Path, settings: Any, curves: list[list[float]], make: Make, sign: int = 1) -> list[int | None]:
    """The epoch after which each trial was pruned, one trial after the other; None: never."""
    config = parse_study(make(pruner=settings), "study")
    direction = "minimize" if sign > 0 else "maximize"
    study = optuna.create_study(
        study_name="hand",  # by which Hyperband chooses brackets
        storage=open_journal(folder),
        direction=direction,
        pruner=make_pruner(config.pruner, epochs=4),
    )
    seen: list[int | None] = []
    for curve in curves:
        trial, ended = study.ask(), None
        for epoch, value in enumerate(curve, start=1):
            trial.report(sign * value, epoch)
            if trial.should_prune() and epoch < len(curve):
                ended = epoch
                break
        state = optuna.trial.TrialState.PRUNED if ended else optuna.trial.TrialState.COMPLETE
        study.tell(trial, None if ended else sign * curve[-1], state=state)
        seen.append(ended)
    return seen


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("settings", "curves", "expected"),
    [
        ("none", [GOOD, BAD, BAD], [None, None, None]),
        ({"name": "median", "startup_trials": 2, "warmup_epochs": 1}, [GOOD, FAIR, BAD, GOOD], [None, None, 2, None]),
        ({"name": "median", "startup_trials": 2, "warmup_epochs": 0}, [GOOD, FAIR, BAD, GOOD], [None, None, 1, None]),
        # the best quarter of 2, 3 and 8 after the third epoch ends at 2.5
        (
            {"name": "percentile", "percentile": 25, "startup_trials": 3, "warmup_epochs": 2},
            [GOOD, FAIR, BAD, FAIR, GOOD],
            [None, None, None, 3, None],
        ),
        # 5 and 5.5 are both worse than 3
        ({"name": "patient", "patience": 1}, [GOOD, BAD, [4.0, 3.0, 5.0, 5.5, 1.0]], [None, None, 4]),
    ],
)
def test_decisions_by_hand(
    tmp_path: Path, tiny_study: Make, settings: Any, curves: list[list[float]], expected: list[int | None], sign: int
) -> None:
    assert pruned_at(tmp_path, settings, curves, tiny_study, sign) == expected


def test_hyperband_begins_some_trials_later(tmp_path: Path, tiny_study: Make) -> None:
    """Brackets of minima 1, 2 and 4: where all trials are equally bad but the first, some die at 1 and some at 2."""
    curves = [GOOD] * 6 + [BAD] * 24
    ends = pruned_at(tmp_path, {"name": "hyperband", "factor": 2}, curves, tiny_study)
    assert {1, 2} <= set(ends[6:])
    assert None in ends[6:]
