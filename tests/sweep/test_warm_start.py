"""A study that begins with what an earlier one found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.sweeping import claim_next, execute, mlflow_runs, optuna_trials
from optuna.trial import TrialState

from dmx.config import StudyConfig, parse_study
from dmx.config.space import Space, build_space
from dmx.errors import ConfigError, UserError
from dmx.sweep.definition import store_config
from dmx.sweep.pruning import explain_trial
from dmx.sweep.sampler_view import blended, trials_for_sampler
from dmx.sweep.suggest import suggest
from dmx.sweep.trial_queue import TrialQueue, open_queue
from dmx.sweep.warm_start import WarmStart, read_warm_start
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow
SEARCH = {
    "optimizer": ["adamw", "sgd"],
    "training.clip_norm": {"low": 0.1, "high": 10, "log": True},
    "stages.0.batch_size": [4, 6, 8],
}


def earlier(make: Make, root: Path, trials: int = 12) -> tuple[StudyConfig, TrialQueue]:
    """A study whose trial k got 10 - k, but for the last, which diverged."""
    config = parse_study(make(name="before", search=SEARCH, trials=trials, sampler="random"), "study")
    folder = Home(root).study("before")
    queue = open_queue(config, folder)
    queue.fill()
    store_config(folder, config)
    for number in range(trials):
        assert claim_next(queue) == number
        trial, _ = suggest(queue, config, build_space(config, "metric"), number)
        if number == trials - 1:
            trial.set_user_attr("outcome", "diverged")
            trial.study.tell(trial, state=TrialState.FAIL)
        else:
            trial.study.tell(trial, 10.0 - number)
    return config, queue


def later(make: Make, **changes: Any) -> tuple[StudyConfig, Space]:
    config = parse_study(make(**{"warm_start": "before", "search": SEARCH, **changes}), "study")
    return config, build_space(config, "metric")


def test_the_best_come_first_and_all_are_told(tmp_path: Path, tiny_study: Make) -> None:
    _, queue = earlier(tiny_study, tmp_path)
    config, space = later(tiny_study, warm_start={"study": "before", "top": 2})
    found = read_warm_start(config, space, Home(tmp_path), None)
    params = [trial.params for trial in queue.trials()]
    assert found.runs == ["before-0010", "before-0009"]
    assert found.queue == [params[10], params[9]]
    assert found.sampler_trials == [*reversed(params[:11]), params[11]]  # what diverged is last


def test_what_does_not_fit_is_left_out_and_what_is_missing_filled(
    tmp_path: Path, tiny_study: Make, caplog: pytest.LogCaptureFixture
) -> None:
    _, queue = earlier(tiny_study, tmp_path)
    search = {
        "optimizer": ["adamw", "nadam"],
        "stages.0.batch_size": [4, 6, 8],
        "model.depthmasknet.width": [4, 6],
        "schedule": ["constant", "cosine"],
    }
    config, space = later(tiny_study, search=search)
    found = read_warm_start(config, space, Home(tmp_path), None)
    fitting = [trial for trial in reversed(queue.trials()[:11]) if trial.params["optimizer"] == "adamw"]
    sgd = sum(trial.params["optimizer"] == "sgd" for trial in queue.trials())
    assert 0 < sgd < 12
    assert f"warm_start: {sgd} of 12 trials of 'before' are left out: search.optimizer does not have sgd" in caplog.text
    experiment = config.experiment.dump()
    for values, trial in zip(found.sampler_trials, fitting, strict=False):
        for path in ("optimizer", "optimizer.adamw.lr", "stages.0.batch_size"):
            assert values[path] == trial.params[path]
        assert values["model.depthmasknet.width"] == experiment["model"]["width"]
        assert values["schedule"] == experiment["schedule"]["name"]
        assert "training.clip_norm" not in values


def test_earlier_trials_fade(tmp_path: Path, tiny_study: Make) -> None:
    """Of twelve, nine are left beside three own ones; the shares of better trials decide on the order."""
    earlier(tiny_study, tmp_path)
    config, space = later(tiny_study, trials=13)
    told = read_warm_start(config, space, Home(tmp_path), None)
    seen = WarmStart(told.runs, told.queue, told.sampler_trials).trials(space)
    queue = open_queue(config, tmp_path / "now")
    queue.fill()
    for number in range(13):
        rows = trials_for_sampler(queue.trials(), config, seen)
        own = [trial.number for trial in rows if trial.number >= 0]
        assert len(rows) == max(12, number)
        assert own == [*range(number)]  # each is worse than the one before
        assert [trial.values for trial in rows] == [[float(place)] for place in range(len(rows))]
        claim_next(queue)
        trial, _ = suggest(queue, config, space, number, warm_start_trials=seen)
        trial.study.tell(trial, float(number))
    one, three = seen[:1], seen[1:4]
    assert blended(one, three) == [three[0], one[0], three[2]]  # shares 1/4, 1/2, 3/4
    assert blended(one, []) == one


def test_the_sampler_knows_from_the_first_trial_on(tmp_path: Path, tiny_study: Make) -> None:
    """Before, adamw was always better: of twelve trials of a new study nearly all have it, by restarts or without."""
    config = parse_study(tiny_study(name="before", search={"optimizer": ["adamw", "sgd"]}, trials=30), "study")
    folder = Home(tmp_path).study("before")
    queue = open_queue(config, folder)
    queue.fill()
    store_config(folder, config)
    for number in range(30):
        claim_next(queue)
        trial, values = suggest(queue, config, build_space(config, "metric"), number)
        trial.study.tell(trial, 1.0 + 3.0 * (values["optimizer"] == "sgd"))
    drawn = []
    for name in ("whole", "parts", "cold"):
        changes: dict[str, Any] = {"warm_start": None} if name == "cold" else {}
        config, space = later(
            tiny_study, search={"optimizer": ["adamw", "sgd"]}, trials=12, seed=3, sampler={"name": "tpe"}, **changes
        )
        earlier_trials = read_warm_start(config, space, Home(tmp_path), None).trials(space)
        now = open_queue(config, tmp_path / name)
        now.fill()
        drawn.append([])
        for number in range(12):
            now = open_queue(config, tmp_path / name) if name == "parts" else now
            claim_next(now)
            trial, values = suggest(now, config, space, number, warm_start_trials=earlier_trials)
            trial.study.tell(trial, 1.0)  # it learns nothing of its own
            drawn[-1].append(values["optimizer"])
    assert drawn[0] == drawn[1]
    assert drawn[0].count("adamw") >= 10 > drawn[2].count("adamw")


def test_a_real_study_begins_warm_and_needs_the_earlier_one_no_more(tmp_path: Path, tiny_study: Make) -> None:
    home = tmp_path / "home"
    _, queue = earlier(tiny_study, home, trials=4)
    data = tiny_study(search=SEARCH, warm_start={"study": "before", "top": 1}, trials=1, pruner="none")
    execute(data, home)
    (home / "studies/before/study.yaml").unlink()
    execute({**data, "trials": 2}, home)
    config = parse_study({**data, "trials": 2}, "study")
    first, second = optuna_trials(config, home)
    assert second.params == queue.trials()[2].params
    assert "warm start" not in first.user_attrs
    assert "its values are those of before-0002 (warm_start)" in "\n".join(explain_trial([first, second], 1, config))
    runs = mlflow_runs(home)
    assert runs["tiny-0001"].data.tags["dmx.warm_start"] == "before-0002"
    assert runs["tiny-study"].data.tags["dmx.warm_start"] == "before"
    assert "dmx.warm_start" not in runs["tiny-0000"].data.tags


def test_bad_names_are_refused_before_anything_is_written(tmp_path: Path, tiny_study: Make) -> None:
    config, space = later(tiny_study, warm_start="befor")
    with pytest.raises(UserError, match="warm_start: no study 'befor' in"):
        read_warm_start(config, space, Home(tmp_path), None)
    with pytest.raises(UserError, match="warm_start: no study 'befor' in"):
        execute(tiny_study(warm_start="befor"), tmp_path / "home")
    assert not (tmp_path / "home").exists()
    config, _ = later(tiny_study, warm_start=None, name="before")
    folder = Home(tmp_path).study("before")
    open_queue(config, folder).fill()
    store_config(folder, config)
    config, space = later(tiny_study)
    with pytest.raises(UserError, match="no trial of study 'before' is complete; let it come further first"):
        read_warm_start(config, space, Home(tmp_path), None)


def test_what_does_not_go_with_a_warm_start_is_refused(tiny_study: Make) -> None:
    with pytest.raises(ConfigError, match="warm_start names this study, 'tiny'"):
        parse_study(tiny_study(warm_start="tiny"), "study")
    with pytest.raises(ConfigError, match="warm_start does not go with sampler 'grid'"):
        parse_study(tiny_study(warm_start="before", sampler="grid"), "study")
