"""Pages of studies that went badly, or are of another kind: something is said of each, and nothing fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from dmx.config import StudyConfig
from dmx.config.objective import Goal
from dmx.errors import UserError
from dmx.outcome import Outcome
from dmx.report import gather, page
from dmx.report.figures import view
from dmx.report.html import count, duration, number, table, tag
from dmx.report.reading import Trial, importances, planned
from dmx.report.study_data import winner_of
from dmx.results.ranking import Entry
from dmx.results.records import Chosen
from dmx.tracking.home import Home
from dmx.training.result import RunResult

Make = Callable[..., optuna.Study]
Parse = Callable[[str], Any]
LR = {"lr": FloatDistribution(1e-5, 1e-1, log=True)}


def complete(value: float, lr: float = 1e-3, **more: Any) -> dict[str, Any]:
    return {"value": value, "params": {"lr": lr}, "distributions": LR, "user_attrs": {"outcome": "complete"}, **more}


def failed(outcome: str, reason: str) -> dict[str, Any]:
    attributes = {"outcome": outcome, "reason": reason}
    return {"state": TrialState.FAIL, "params": {"lr": 0.1}, "distributions": LR, "user_attrs": attributes}


def sections(config: StudyConfig, study: optuna.Study, home: Path, parse: Parse) -> dict[str, Any]:
    return dict(parse(page(gather(config, study, Home(home)))).sections)


def test_a_study_in_which_all_failed(config: StudyConfig, made: Make, tmp_path: Path, parse: Parse) -> None:
    trials = [
        failed("diverged", "loss is nan at step 12"),
        failed("diverged", "loss is nan at step 7"),
        failed("crashed", "ValueError: no"),
    ]
    said = sections(config, made(*trials), tmp_path, parse)
    assert "3 trials of 9 wanted ended: 2 diverged, 1 crashed." in said["what-was-searched"].said
    assert "Nothing: no trial is complete." in said["what-won"].said
    assert "No trial has a value." in said["how-the-search-went"].said
    assert "Not known: 0 complete trials are too few" in said["what-mattered"].said
    assert "3 trials of 3 came to no value" in said["what-failed-and-why"].said
    assert ["diverged", "2", "0, 1", "loss is nan at step 12"] in said["what-failed-and-why"].rows
    assert ["crashed", "1", "2", "ValueError: no"] in said["what-failed-and-why"].rows
    assert "None: no trial is complete." in said["what-it-looks-like"].said


def test_a_study_without_an_ended_trial_is_refused(config: StudyConfig, made: Make, tmp_path: Path) -> None:
    study = made()
    study.ask()
    with pytest.raises(UserError, match=r"no trial of study 'tiny' in .* has ended.*run `dmx sweep` first"):
        gather(config, study, Home(tmp_path))


def test_texts_of_users_stay_texts(config: StudyConfig, made: Make, tmp_path: Path, parse: Parse) -> None:
    evil = "<script>alert('&')</script>$x$"
    choice = {"loss": CategoricalDistribution((evil, "b"))}
    study = made(
        failed("crashed", evil),
        *({"value": float(i), "params": {"loss": (evil, "b")[i % 2]}, "distributions": choice} for i in range(6)),
    )
    source = page(gather(config, study, Home(tmp_path)))
    found = parse(source)
    assert "<script" not in source
    assert "script" not in found.tags
    assert evil in found.sections["what-failed-and-why"].rows[-1]
    assert evil in found.sections["each-parameter-by-itself"].said  # as a tick of a plot


def test_several_objectives_give_a_front(config: StudyConfig, made: Make, tmp_path: Path, parse: Parse) -> None:
    pairs = [(1.0, 5.0), (2.0, 4.0), (3.0, 9.0), (0.5, 1.0)]
    trials = [{"values": pair, "params": {"lr": 0.1}, "distributions": LR} for pair in pairs]
    study = made(*trials, directions=("minimize", "maximize"))
    several = config.model_copy(update={"objectives": (Goal(metric="val/mask/iou_pooled"),)})
    said = sections(several, study, tmp_path, parse)
    assert "no other trial beats 3 trials in all of them" in said["what-won"].said
    assert "so it is lucky, too: trained anew it will on average do worse" in said["what-won"].said
    assert "Red: the 3 trials that no other beats in every objective." in said["how-the-search-went"].said
    assert said["what-mattered"].said.count("no parameter varies over all complete trials") == 2


def test_with_several_objectives_the_winner_is_the_trial_that_train_best_took() -> None:
    def entry(run: str, width: int, seed: int = 0) -> Entry:
        record = {"params": {"name": run, "seed": seed, "stages": "1x32@8", "model.width": width}}
        return Entry(run, RunResult(Outcome.COMPLETE, "", None, 1, 1, 1.0), record)

    def trial(number: int, run: Entry, *values: float) -> Trial:
        return Trial(number, "complete", "", run.run, {}, values, None, None, run)

    trials = [trial(0, entry("deep", 4), 1.0, 0.2), trial(1, entry("both", 6), 1.1, 0.9)]
    retrained = [entry("tiny-best-s3", 6, seed=3)]
    chosen = Chosen(champion="tiny-best-s3", test=None)
    assert winner_of(trials, ("minimize", "maximize"), retrained, chosen) == trials[1].entry
    assert winner_of(trials, ("minimize",), retrained, chosen) == trials[0].entry
    assert winner_of(trials, ("minimize", "maximize"), [], None) == trials[0].entry


def test_the_parameter_that_decides_matters_most(config: StudyConfig, made: Make, tmp_path: Path, parse: Parse) -> None:
    both = {"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)}
    places = [(i / 40, (i * 17 % 40) / 40) for i in range(40)]
    study = made(*({"value": 3 * a, "params": {"a": a, "b": b}, "distributions": both} for a, b in places))
    found = importances(study)
    assert found.shares["a"] > 0.9
    assert list(found.shares) == ["a", "b"]
    said = sections(config, study, tmp_path, parse)
    assert "a and b: each dot is a trial, between them it is interpolated." in said["the-two-that-mattered-most"].said
    assert "take it as a hint" not in said["what-mattered"].said


@pytest.mark.parametrize(
    ("trials", "why"),
    [
        ([complete(1.0, 1e-3), complete(2.0, 1e-2)], "2 complete trials are too few"),
        ([complete(float(i)) for i in range(5)], "no parameter varies over all complete trials"),
        ([complete(1.0, 10.0**-i) for i in range(1, 6)], "all complete trials have the same value"),
    ],
)
def test_why_there_is_no_importance(
    config: StudyConfig, made: Make, tmp_path: Path, parse: Parse, trials: list[dict[str, Any]], why: str
) -> None:
    said = sections(config, made(*trials), tmp_path, parse)
    assert why in said["what-mattered"].said
    assert why in said["the-two-that-mattered-most"].said


def test_one_trial_and_one_with_a_wild_value(config: StudyConfig, made: Make, tmp_path: Path, parse: Parse) -> None:
    assert "the only complete trial" in sections(config, made(complete(1.0)), tmp_path, parse)["what-won"].said
    wild = made(*(complete(1 + i / 10) for i in range(6)), complete(1e6))
    said = sections(config, wild, tmp_path, parse)
    assert "1 trial beyond the edge drawn on it" in said["how-the-search-went"].said
    assert "more than chance on these samples is not known: they are not on record" in said["what-won"].said


def test_a_log_axis_says_plain_numbers(config: StudyConfig, made: Make, tmp_path: Path, parse: Parse) -> None:
    said = sections(config, made(*(complete(float(i), 10.0**-i) for i in range(1, 5))), tmp_path, parse)
    assert "0.001" in said["each-parameter-by-itself"].said
    assert "$" not in said["each-parameter-by-itself"].said


def test_the_range_shown_leaves_out_who_went_astray() -> None:
    low, high = view([1.0, 1.1, 1.2, 1.3, 1e6])
    assert low == pytest.approx(0.982)
    assert high == pytest.approx(1.318)
    low, high = view([2.0, 2.0])
    assert low < 2.0 < high


def test_small_words() -> None:
    assert tag("a", "<&>", title='"') == '<a title="&#34;">&lt;&amp;&gt;</a>'
    assert "<td>&lt;b&gt;</td>" in table(("x",), [("<b>",)])
    assert [number(v) for v in (None, 1.02, 1234.5, 0.00012345)] == ["–", "1.020", "1234", "0.0001234"]
    assert [duration(s) for s in (5, 119.6, 600, 7260)] == ["5 s", "120 s", "10 min", "2 h 01 min"]
    assert [count(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]
    assert planned({"stages": "4x64@16, 2x(96, 128)@16"}) == 6
