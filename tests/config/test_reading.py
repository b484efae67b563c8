from pathlib import Path

import pytest

from dmx.config.reading import merge, override, read_yaml
from dmx.errors import ConfigError, UserError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_numbers_with_an_exponent_and_no_dot_are_numbers(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path, "a.yaml", "x: 3e-4\ny: 1.0e+3\nz: e5\n")) == {"x": 3e-4, "y": 1000.0, "z": "e5"}


def test_extends_merges_mappings_and_replaces_lists(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "a: {x: 1, y: 2}\nb: [1, 2]\n")
    path = write(tmp_path, "top.yaml", "extends: base.yaml\na: {y: 3}\nb: [4]\n")
    assert read_yaml(path) == {"a": {"x": 1, "y": 3}, "b": [4]}


def test_a_section_extends_a_file_of_its_own_folder(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "seed: 1\nname: base\n")
    path = write(tmp_path, "study.yaml", "experiment:\n  extends: base.yaml\n  name: mine\n")
    assert read_yaml(path) == {"experiment": {"seed": 1, "name": "mine"}}


def test_another_component_replaces_and_the_same_one_merges() -> None:
    base = {"model": {"name": "unet", "encoder": "resnet18"}}
    assert merge(base, {"model": {"name": "fpn"}}) == {"model": {"name": "fpn"}}
    assert merge(base, {"model": {"name": "unet", "inputs": "image"}})["model"]["encoder"] == "resnet18"
    assert merge({"model": "unet"}, {"model": {"encoder": "x"}}) == {"model": {"name": "unet", "encoder": "x"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "key 'a' is given twice"),
        ("- 1\n", "must hold a mapping of keys to values, but holds list"),
        ("a: [1\n", "is not readable YAML"),
        ("extends: [x]\n", "`extends` in .* must name one file, but got \\['x'\\]"),
        ("extends: top.yaml\n", "extends itself by way of"),
        ("extends: nowhere.yaml\n", "no file .*nowhere.yaml \\(named under `extends:`"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_yaml(write(tmp_path, "top.yaml", text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*gone\.yaml; check the path\."):
        read_yaml(tmp_path / "gone.yaml")


def test_overrides_reach_into_mappings_lists_and_bare_names() -> None:
    data = {"stages": [{"epochs": 1}, {"epochs": 2}], "optimizer": "adamw"}
    changed = override(data, ["stages.1.epochs=5", "optimizer.lr=3e-4", "model=unet"])
    assert changed == {
        "stages": [{"epochs": 1}, {"epochs": 5}],
        "optimizer": {"name": "adamw", "lr": 3e-4},
        "model": "unet",
    }
    assert data["optimizer"] == "adamw"


def test_all_bad_overrides_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        override({"stages": [1], "seed": 3}, ["nonsense", "stages.7.epochs=1", "seed.x=1"])
    text = str(caught.value)
    assert "the command line has 3 problems" in text
    assert "-s nonsense: must read key=value, as in optimizer.lr=3e-4" in text
    assert "-s stages.7.epochs=1: '7' is no place in a list of 1; count from 0" in text
    assert "-s seed.x=1: 'x' cannot be set inside the plain value 3" in text


@pytest.mark.parametrize("name", ['"\\0"', "x" * 100_000, "a/" * 3000])
def test_what_is_extended_has_to_be_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is no path: it") as caught:
        read_yaml(write(tmp_path, "top.yaml", f"extends: {name}\n"))
    assert len(str(caught.value)) < 2000


def test_what_is_extended_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, "base.yaml", "seed: 1\n")
    (tmp_path / "deep").mkdir()
    assert read_yaml(write(tmp_path / "deep", "top.yaml", "extends: ~/base.yaml\n")) == {"seed": 1}


def test_an_override_is_read_as_the_files_are() -> None:
    assert override({}, ["a=1e-3", "b={c: .5e1}"]) == {"a": 1e-3, "b": {"c": 5.0}}
    with pytest.raises(ConfigError, match="line 1: key 'c' is given twice"):
        override({}, ["b={c: 1, c: 2}"])
    with pytest.raises(ConfigError, match="special characters are not allowed"):
        override({}, ["data.root=\udcff"])
