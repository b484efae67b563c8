"""A real study on the disk: what takes room, what nobody needs, and that the rest stays."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from helpers.sweeping import execute

from dmx.cli.gc import gc
from dmx.config import parse_study
from dmx.errors import UserError
from dmx.experiment.trained import trained
from dmx.results.ranking import results
from dmx.sweep.garbage import disk_usage, find_garbage
from dmx.tracking import Home
from dmx.tracking.mlflow_client import connect

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


def invoke(home: Home, *arguments: str) -> str:
    return CliRunner().invoke(gc, [*arguments, "--home", str(home.root)], catch_exceptions=False).output


def weights(home: Home) -> set[str]:
    return {path.parent.name for path in home.root.glob("runs/*/best.safetensors")}


def test_nothing_goes_unasked_and_what_is_needed_stays(tmp_path: Path, tiny_study: Make, tiny_data: Path) -> None:
    home = Home(tmp_path / "home")
    data = tiny_study(trials=4, pruner="none")
    data["experiment"]["training"] = {"log_every": 1, "keep": "all"}
    execute({**data, "trials": 3}, home.root)
    assert [one.what for one in find_garbage(home, 1)].count("checkpoint") == 3
    config = parse_study(data, "study")
    assert config.trials == 4

    before = disk_usage(home)
    assert before["tiny"]["checkpoints"] > 0
    files = sorted(path for path in home.root.rglob("*") if path.is_file())
    total = sum({(found := path.stat()).st_ino: found.st_size for path in files}.values())
    assert sum(sum(kinds.values()) for kinds in before.values()) == pytest.approx(total, rel=0.01)

    client = connect(home)
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id], "tags.`dmx.role` = 'trial'")
    board = [one.run for one in sorted(find_garbage(home, 0), key=lambda one: one.run) if one.what == "weights"]
    assert len(set(board)) == 3
    best = (
        {"tiny-0000", "tiny-0001", "tiny-0002"} - {one.run for one in find_garbage(home, 1) if one.what == "weights"}
    ).pop()
    tagged = next(run for run in runs if run.data.tags["dmx.run"] != best)
    client.set_tag(tagged.info.run_id, "dmx.keep", "for the paper")
    held = tagged.data.tags["dmx.run"]

    check_start(home, ({"tiny-0000", "tiny-0001", "tiny-0002"} - {best, held}).pop())
    said = invoke(home, "--best", "1")
    assert "Nothing was removed; `dmx gc --yes` removes these." in said
    assert "not among the best 1" in said
    assert sorted(path for path in home.root.rglob("*") if path.is_file()) == files

    said = invoke(home, "--best", "1", "--yes")
    assert "are free again" in said
    assert weights(home) == {best, held}
    assert {path.parent.name for path in home.root.glob("runs/*/checkpoint.pt")} == {held}
    copies = {path.parts[-3] for path in home.artifacts.glob("*/*/artifacts/best.safetensors")}
    assert copies == {run.info.run_id for run in runs if run.data.tags["dmx.run"] in (best, held)}
    assert len([*home.root.glob("runs/*/result.json")]) == 3
    assert "All of it is needed." in invoke(home, "--best", "1")


def check_start(home: Home, run: str) -> None:
    """A run that another one, or a study in any of its places, names as its `start` is no garbage."""
    assert run in {one.run for one in find_garbage(home, 1)}
    home.run("tuned").mkdir()
    (home.run("tuned") / "config.yaml").write_text(yaml.safe_dump({"name": "tuned", "start": run}))
    assert run not in {one.run for one in find_garbage(home, 1)}
    shutil.rmtree(home.run("tuned"))
    config = home.study("tuned") / "study.yaml"
    config.parent.mkdir()
    weights = home.run(run) / "best.safetensors"
    for study in (
        {"experiment": {"start": run}},
        {"search": {"start": [None, run]}},
        {"search": {"start": run}},
        {"experiment": {}, "queue": [{"optimizer": "adam"}, {"start": run}]},
        {"search": {"start": ["w.safetensors", str(weights)]}},
    ):
        config.write_text(yaml.safe_dump({"name": "tuned", "experiment": {}, **study}))
        assert run not in {one.run for one in find_garbage(home, 1)}, study
    config.write_text(yaml.safe_dump({"name": "tuned", "experiment": {}, "search": {"start": ["another"]}}))
    assert run in {one.run for one in find_garbage(home, 1)}
    shutil.rmtree(config.parent)


def test_a_study_that_goes_on_keeps_everything(tmp_path: Path, tiny_study: Make) -> None:
    home = Home(tmp_path)
    data = tiny_study(trials=2, pruner="none")
    execute(data, home.root)
    path = home.study("tiny") / "study.yaml"
    path.write_text(path.read_text().replace("trials: 2", "trials: 5"))  # as `--trials 5` does
    assert [*find_garbage(home, 0)] == []


def test_packs_of_data_that_changed_are_spare(tmp_path: Path, tiny: Make, tiny_data: Path) -> None:
    from dmx.config import parse_experiment
    from dmx.experiment import Tracking, prepare, run

    home, root = Home(tmp_path / "home"), tmp_path / "data"
    shutil.copytree(tiny_data, root)
    own = {"root": str(root), "split": {"val": 0.25, "test": 0.25}, "cache": "disk"}
    stages = [{"epochs": 1, "size": 16, "batch_size": 8}]
    prepared = prepare(parse_experiment(tiny(data=own, stages=stages, training={"keep": "all"}), "x"), home)
    run(prepared, home, "r", Tracking("e", {"dmx.role": "run"}, stores=False))
    assert [one.what for one in find_garbage(home, 3)] == ["checkpoint"]
    declaration = root / "dataset.yaml"
    declaration.write_text(declaration.read_text() + "\n")
    assert [one.what for one in find_garbage(home, 3)] == ["checkpoint", "pack"]
    invoke(home, "--yes")
    assert not [*home.packs.iterdir()]
    assert (home.run("r") / "best.safetensors").is_file()


def test_a_study_leaves_no_checkpoint_and_no_weights_of_what_was_pruned(tmp_path: Path, tiny_study: Make) -> None:
    """Half of the trials go on after the first epoch; those that are paused keep all until they end, after the last."""
    home = Home(tmp_path)
    data = tiny_study(
        trials=6, pruner={"name": "halving", "min_epochs": 1, "factor": 2}, search={"optimizer": ["adamw", "sgd"]}
    )
    data["search"]["training.clip_norm"] = {"low": 0.1, "high": 10.0}  # so that none is the same as another
    execute(data, home.root)
    ended = {entry.run: entry.result.outcome for entry in results(home, "tiny")}
    pruned, complete = ({run for run, outcome in ended.items() if outcome == what} for what in ("pruned", "complete"))
    assert len(ended) == 6
    assert pruned
    assert not [*home.root.glob("runs/*/checkpoint.pt")]
    assert weights(home) == complete
    assert len([*home.root.glob("runs/*/val_samples.parquet")]) == 6  # numbers stay
    in_mlflow = [*home.artifacts.glob("*/*/artifacts/best.safetensors")]
    assert len(in_mlflow) == len(complete)
    assert {path.stat().st_nlink for path in in_mlflow} == {2}  # a second name, which takes no room
    (home.run(min(pruned)) / "checkpoint.pt").write_bytes(b"as if killed before it was removed")
    (home.run("tiny-study") / "journal.jsonl").unlink()  # as if not closed
    execute(data, home.root)
    assert not [*home.root.glob("runs/*/checkpoint.pt")]
    with pytest.raises(UserError, match="has no weights: it was pruned, and a pruned trial keeps none but with"):
        trained(home, min(pruned))
