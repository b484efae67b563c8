"""Depth of another camera: a known distortion is found, and none where there is none."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from dmx.cli import cli
from dmx.config import parse_experiment
from dmx.deliver.calibrate import Measured, choose, compare, difference, errors, fit, held_out, keep, measure
from dmx.deliver.exported import ExportedNetwork
from dmx.errors import UserError
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.trained import Calibration, calibration_of, trained
from dmx.models.calibrated import LEAST, Calibrated
from dmx.quartet import DepthSpec
from dmx.tracking import Home


def pictures(scale: float, power: float, noise: float, groups: int = 8, per_group: int = 3) -> list[Measured]:
    """Predictions d of true depths scale d^power, with an error of each picture's and of each pixel's own."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(groups * per_group):
        p = rng.uniform(0, 2, 400).astype(np.float32)
        t = math.log(scale) + power * p + noise * (rng.normal() + rng.normal(size=400))
        found.append(Measured(f"g{number // per_group}", p, t.astype(np.float32)))
    return found


@pytest.mark.parametrize(("scale", "power", "kept"), [(1.3, 0.9, "power"), (1.3, 1.0, "scale"), (1.0, 1.0, "none")])
def test_a_known_distortion_is_found_and_none_where_there_is_none(scale: float, power: float, kept: str) -> None:
    chosen = choose(compare(pictures(scale, power, noise=0.02)))
    assert chosen.name == kept
    assert chosen.fitted.scale == pytest.approx(scale, rel=0.02)
    assert chosen.fitted.power == pytest.approx(power, rel=0.02)


def test_fits_by_hand_weigh_pictures_alike() -> None:
    one = Measured("a", np.log(np.float32([1, 2])), np.log(np.float32([2, 4])))
    other = Measured("b", np.log(np.float32([1, 1, 1, 1])), np.log(np.float32([8, 8, 8, 8])))
    assert fit("none", [one, other]) == Calibration(1.0, 1.0)
    assert fit("scale", [one, other]).scale == pytest.approx(4.0)  # the geometric mean of 2 and 8
    straight = Measured("a", np.log(np.float32([1, 2, 4])), np.log(np.float32([3, 12, 48])))
    assert fit("power", [straight]).scale == pytest.approx(3.0, rel=1e-5)
    assert fit("power", [straight]).power == pytest.approx(2.0, rel=1e-5)
    backwards = Measured("a", np.log(np.float32([1, 2])), np.log(np.float32([2, 1])))
    assert fit("power", [backwards]) == fit("scale", [backwards])


def test_errors_by_hand() -> None:
    one = Measured("a", np.log(np.float32([1, 2])), np.log(np.float32([2, 2])))
    assert errors(one, Calibration(1.0, 1.0)) == pytest.approx([math.sqrt(0.5), 0.25, 0.5])
    assert errors(one, Calibration(2.0, 1.0)) == pytest.approx([math.sqrt(2), 0.5, 0.5])


def test_a_group_is_judged_by_a_fit_that_has_not_seen_it() -> None:
    off = {"a": 2.0, "b": 2.0, "c": 2.0, "d": 5.0}
    some = [Measured(group, np.zeros(3, np.float32), np.full(3, math.log(x), np.float32)) for group, x in off.items()]
    by_hand = [abs(math.exp((2 * math.log(2) + math.log(5)) / 3) - 2)] * 3 + [abs(2.0 - 5.0)]
    assert held_out("scale", some)[:, 0] == pytest.approx(by_hand, rel=1e-5)


def test_depth_of_0_and_below_stays_a_number() -> None:
    """The link `identity` can give it, and a power of it would be none."""
    brought = Calibrated(lambda r: r, 2.0, 0.5)(torch.tensor([-1.0, 0.0, 4.0]))
    torch.testing.assert_close(brought, torch.tensor([2 * math.sqrt(LEAST), 2 * math.sqrt(LEAST), 4.0]))


def test_the_interval_is_students_over_groups() -> None:
    found = difference(np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.5, 0.7, 0.6, 0.4]))
    assert found.value == pytest.approx(-0.45)
    half = 3.182446 * np.std([0.5, 0.7, 0.6, 0.4], ddof=1) / 2  # Student's t with 3 degrees of freedom, 97.5 %
    assert found.high == pytest.approx(-0.45 + half, rel=1e-5)
    assert found.clear


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    config = {
        "name": "alone",
        "data": {"root": str(tiny_data), "split": {"val": 0.25, "test": 0.25}},
        "model": {"name": "depthmasknet", "width": 4, "inputs": "image"},
        "loss": {"mask": "bce_dice", "depth": "l1"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "stages": [{"epochs": 1, "size": 32, "batch_size": 8}],
    }
    run(prepare(parse_experiment(config, "alone"), home), home, "alone", Tracking("tests", {}, stores=False))
    return home


def invoke(home: Home, *arguments: object) -> str:
    given = [*map(str, arguments), "--home", str(home.root)]
    found = CliRunner().invoke(cli, given, standalone_mode=False)
    if isinstance(found.exception, UserError):
        raise found.exception
    assert found.exit_code == 0, found.output
    return found.output


def test_what_is_kept_is_in_predictions_and_in_exported_files(home: Home, tiny_data: Path, tmp_path: Path) -> None:
    """A network that has seen 24 pictures once is off by a factor on any data."""
    said = invoke(home, "calibrate", "alone", tiny_data, "--part", "all", "--name", "here")
    assert "48 pictures of 12 groups" in said
    assert "take it by --calibration here" in said
    kept = calibration_of(home, "alone", "here")
    assert (kept.scale, kept.power) != (1.0, 1.0)
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        plain, brought = (trained(home, "alone", name).model(picture, None).depth for name in (None, "here"))
    torch.testing.assert_close(brought, kept.scale * plain**kept.power)
    invoke(home, "predict", "alone", tiny_data, tmp_path / "plain", "--part", "val")
    invoke(home, "predict", "alone", tiny_data, tmp_path / "brought", "--part", "val", "--calibration", "here")
    first = min((tmp_path / "plain" / "depth").rglob("*.npy"))
    depth, same = np.load(first), np.load(tmp_path / "brought" / first.relative_to(tmp_path / "plain"))
    assert same == pytest.approx(kept.scale * depth**kept.power, rel=1e-4)
    invoke(home, "export", "alone", tmp_path / "a.onnx", "--calibration", "here")
    network = ExportedNetwork(tmp_path / "a.onnx")
    assert network.facts.calibration == "here"
    image = (picture[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    expected = trained(home, "alone", "here").model(torch.from_numpy(image).permute(2, 0, 1)[None] / 255, None).depth
    assert network([image], None)[0][1] == pytest.approx(expected[0, 0].detach().numpy(), rel=1e-4)


def test_an_earlier_calibration_that_stays_in_force_is_named(
    home: Home, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmx.deliver.calibrate.choose", lambda forms: forms[0])
    said = invoke(home, "calibrate", "alone", tiny_data, "--part", "all", "--name", "twice")
    assert "Nothing is kept" in said
    assert "stays in force" not in said
    path = keep(home, "alone", "twice", compare(pictures(1.3, 1.0, 0.02))[1], {})
    said = invoke(home, "calibrate", "alone", tiny_data, "--part", "all", "--name", "twice")
    assert f"An earlier calibration 'twice' stays in force; to be rid of it, remove {path}." in said
    path.unlink()


def test_what_cannot_be_calibrated_is_refused_and_nothing_is_kept(home: Home, tiny_data: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    shutil.copytree(tiny_data, few)
    lines = (few / "samples.csv").read_text().splitlines(keepends=True)
    (few / "samples.csv").write_text("".join(lines[:9]))  # two rooms
    before = sorted((home.run("alone")).rglob("*"))
    with pytest.raises(UserError, match=r"has pictures of 2 groups \(scenes\), and calibration needs 4"):
        invoke(home, "calibrate", "alone", few)
    relative = replace(trained(home, "alone"), spec=DepthSpec("relative", 0.0, 1.0))
    with pytest.raises(UserError, match="alone: has relative depth, which has no scale"):
        measure(relative, tiny_data, "all", home, lambda done, total: None)
    with pytest.raises(UserError, match="has no calibration 'nowhere'"):
        invoke(home, "predict", "alone", tiny_data, tmp_path / "out", "--calibration", "nowhere")
    found = CliRunner().invoke(cli, ["calibrate", "alone", str(tiny_data), "--name", "a/b", "--home", str(home.root)])
    assert found.exit_code == 2
    assert sorted((home.run("alone")).rglob("*")) == before
    assert not (tmp_path / "out").exists()
