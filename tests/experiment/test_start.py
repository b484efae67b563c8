"""A network that begins with the weights of another run, or of a file, which are part of the run's identity."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.running import StopAt, execute
from safetensors.torch import load_file, save_file

from dmx.config import parse_experiment, parse_study
from dmx.config.experiment import hash_of
from dmx.errors import ConfigError, DataError, UserError
from dmx.experiment import Tracking, check, prepare, run
from dmx.experiment.initial_weights import check_weights_of_ended
from dmx.experiment.trained import trained
from dmx.models import DepthMaskModel, make_link
from dmx.models.smp import unet
from dmx.outcome import Outcome
from dmx.quartet import DepthSpec
from dmx.tracking.home import Home
from dmx.training.checkpoint import save_weights

Make = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def first(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the run `r`, which has ended; its colours are not what others would take."""
    home = tmp_path_factory.mktemp("first")
    data = {
        "name": "tiny",
        "data": {"root": str(tiny_data), "split": {"val": 0.25, "test": 0.25}, "normalisation": "data"},
        "model": {"name": "depthmasknet", "width": 4},
        "loss": {"mask": "bce_dice", "depth": "silog"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "stages": [{"epochs": 1, "size": 32, "batch_size": 8}],
    }
    execute(data, home)
    return home


def best(home: Path) -> Path:
    return home / "runs/r/best.safetensors"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("form", ["run", "file", "checkpoint"])
def test_the_whole_network_begins_with_the_weights_and_colours(first: Path, tiny: Make, form: str) -> None:
    path = best(first)
    start = {"run": "r", "file": str(path), "checkpoint": str(first / "runs/r/checkpoint.pt")}[form]
    wanted = load_file(path) if form != "checkpoint" else torch.load(start, weights_only=True)["model"]
    checked = check(parse_experiment(tiny(start=start, seed=7), "test"), Home(first))
    found = checked.model.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(value, found[name]) for name, value in wanted.items())
    assert checked.weights == {"start": sha256(Path(start) if form == "checkpoint" else path)}


def test_colours_of_the_data_come_before_those_of_the_weights(first: Path, tiny: Make, tmp_path: Path) -> None:
    state = load_file(best(first))
    save_file({**state, "mean": torch.full((3, 1, 1), 0.25)}, tmp_path / "w.safetensors")
    data = tiny(start=str(tmp_path / "w.safetensors"))
    assert prepare(parse_experiment(data, "test"), Home(tmp_path)).model.mean.flatten().tolist() == [0.25] * 3
    data["data"] = {**data["data"], "normalisation": "data"}
    found = prepare(parse_experiment(data, "test"), Home(tmp_path)).model.mean
    torch.testing.assert_close(found, state["mean"])


def test_it_stands_in_the_records_and_is_not_needed_any_more(first: Path, tiny: Make, tmp_path: Path) -> None:
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    home = Home(tmp_path)
    prepared = prepare(parse_experiment(tiny(start="r"), "test"), home)
    result, _ = run(prepared, home, "second", Tracking("tests", {"dmx.role": "run"}, stores=False))
    assert result.outcome is Outcome.COMPLETE
    digest = sha256(best(tmp_path))
    for name in ("identity.json", "result.json"):
        assert json.loads((home.run("second") / name).read_text())["weights"] == {"start": digest}
    begun = json.loads((home.run("second") / "journal.jsonl").read_text().splitlines()[0])
    assert begun["tags"]["dmx.start"] == digest[:16]
    shutil.rmtree(home.run("r"))
    assert trained(home, "second").run == "second"


def test_pretrained_weights_need_not_be_had(tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    net = unet(encoder="mobilenet_v2")
    save_weights(tmp_path / "w.safetensors", DepthMaskModel(net, make_link("exp", DepthSpec("metric", 1, 5))))
    model = {"name": "unet", "encoder": "mobilenet_v2", "weights": "imagenet"}
    data = tiny(model=model, start=str(tmp_path / "w.safetensors"))
    begun = check(parse_experiment(data, "test"), Home(tmp_path)).model.net
    assert all(torch.equal(*pair) for pair in zip(begun.state_dict().values(), net.state_dict().values(), strict=True))
    with pytest.raises(ConfigError, match="the imagenet weights of encoder 'mobilenet_v2' are not in the cache"):
        check(parse_experiment({**data, "start": None}, "test"), Home(tmp_path))


def test_what_does_not_fit_is_said_at_once_and_before_data_is_read(first: Path, tiny: Make, tmp_path: Path) -> None:
    state = load_file(best(first))
    left_out = [name for name in state if "mask_decoder.head" in name]
    kept = {name: value for name, value in state.items() if name not in (*left_out, "std")}
    save_file({**kept, "net.more": torch.ones(1), "mean": torch.ones(3)}, tmp_path / "w.safetensors")
    data = tiny(start=str(tmp_path / "w.safetensors"), data={"root": "no/such/folder"})
    with pytest.raises(ConfigError) as caught:
        check(parse_experiment(data, "test"), Home(tmp_path))
    assert str(caught.value) == (
        f"experiment 'tiny' has 1 problem:\n  start: {tmp_path / 'w.safetensors'} does not fit this model: "
        f"{len(left_out) + 1} missing ({', '.join(left_out)}, std), 1 superfluous (net.more), "
        "1 misshapen (mean of 3 for 3x1x1); nothing was loaded. All of `model` must be as it was in the run that the "
        "weights are of."
    )


def test_a_start_that_is_not_there_is_refused(first: Path, tiny: Make, tmp_path: Path) -> None:
    def refused(start: str, home: Path = first) -> str:
        with pytest.raises(UserError) as caught:
            check(parse_experiment(tiny(start=start, data={"root": "no/such/folder"}), "test"), Home(home))
        return str(caught.value)

    assert refused("q") == f"start names run 'q', but there is none in {first}, and no file either; Known: r"
    assert refused("q.pth") == "start names q.pth, but there is no such file; check the path."
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    (tmp_path / "runs/r/result.json").unlink()
    assert refused("r", tmp_path) == "run r has not ended, and its best weights may still change; let it end first."
    shutil.copy(first / "runs/r/result.json", tmp_path / "runs/r/result.json")
    best(tmp_path).unlink()
    assert refused("r", tmp_path).startswith(f"{best(tmp_path)} is not there: the run has no best epoch yet")


def test_a_run_does_not_go_on_with_other_weights(first: Path, tiny: Make, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    shutil.copy(best(first), path)
    data = tiny(start=str(path))
    assert execute(data, tmp_path, StopAt(2)).outcome is Outcome.INTERRUPTED
    state = load_file(path)
    save_file({name: value + 1 if "weight" in name else value for name, value in state.items()}, path)
    with pytest.raises(DataError) as caught:
        execute(data, tmp_path)
    assert str(caught.value) == (
        "the file that start names has changed since run r started; going on would mix two sets of weights. "
        "Restore the file, or use another `name`."
    )
    shutil.copy(best(first), path)
    assert execute(data, tmp_path).outcome is Outcome.COMPLETE


def test_an_ended_run_does_not_stand_for_other_weights(first: Path, tiny: Make, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    config, home = parse_experiment(tiny(start=str(path)), "test"), Home(tmp_path)
    shutil.copy(best(first), path)
    record = {"weights": {"start": sha256(path)}}
    check_weights_of_ended(record, config, home, "run r")
    path.write_text("another")
    with pytest.raises(DataError, match="the file that start names has changed since run r started"):
        check_weights_of_ended(record, config, home, "run r")
    path.unlink()
    check_weights_of_ended(record, config, home, "run r")


def test_a_changed_file_of_an_encoder_is_another_identity(tiny: Make, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    data = tiny(model={"name": "unet", "encoder": "mobilenet_v2", "weights": str(path)})
    state = unet(encoder="mobilenet_v2", inputs="image").encoder.state_dict()
    torch.save(state, path)
    assert check(parse_experiment(data, "test"), Home(tmp_path)).weights == {"model.weights": sha256(path)}


def test_configurations_without_a_start_keep_their_fingerprint(tiny: Make) -> None:
    config = parse_experiment(tiny(), "test")
    older = config.dump()
    assert older.pop("start") is None
    assert older["training"].pop("batch_norm") == "fresh"
    assert config.fingerprint == hash_of(older)
    assert parse_experiment(tiny(start="r"), "test").fingerprint != config.fingerprint
    study = {"name": "s", "experiment": tiny(), "search": {"optimizer": ["adamw", "sgd"]}, "trials": 1}
    decisive = {k: v for k, v in parse_study(study, "test").dump().items() if k not in ("trials", "train_best")}
    del decisive["experiment"]["start"], decisive["experiment"]["training"]["batch_norm"]
    assert parse_study(study, "test").fingerprint == hash_of(decisive)
