"""What an experiment says of its data reaches training: cache, normalisation, augmentation."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from dmx.config import parse_experiment
from dmx.data.layout import read
from dmx.data.pack.form import VERSION
from dmx.data.pack.write import pack
from dmx.datatools.synth import synth
from dmx.errors import ConfigError, DataError
from dmx.experiment import Prepared, Tracking, loaders, prepare, run
from dmx.experiment.trained import trained
from dmx.tracking import Home

Make = Callable[..., dict[str, Any]]


def prepared(data: dict[str, Any], home: Path, **settings: Any) -> Prepared:
    return prepare(parse_experiment({**data, "data": data["data"] | settings}, "test"), Home(home))


def first(found: Prepared) -> torch.Tensor:
    return next(iter(found.loaders.train(found.config.stages[0], 0, 0))).image


def test_memory_while_it_lasts_then_the_disk_where_it_pays(
    tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = tiny(), tiny(stages=[{"epochs": 3, "size": 32, "batch_size": 8}])
    fits = prepared(short, tmp_path)
    assert fits.loaders.cache == "memory"
    monkeypatch.setattr(loaders, "MEMORY_SHARE", 0.0)
    once, often = prepared(short, tmp_path / "once"), prepared(long, tmp_path / "often")
    assert (once.loaders.cache, often.loaders.cache) == ("none", "disk")
    (folder,) = (path for path in (tmp_path / "often/packs").iterdir() if path.is_dir())
    assert folder.name == f"{often.data_fingerprint[:16]}-{often.index.stamp[:8]}-32x32-v{VERSION}"
    assert torch.equal(first(fits), first(once))
    assert torch.equal(first(fits), first(often))


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_what_is_kept_goes_by_when_the_files_changed(tiny: Make, tmp_path: Path, cache: str) -> None:
    root = tmp_path / "rooms"
    synth(root, count=24, size=32, seed=1, workers=1)
    rows = (root / "samples.csv").read_text()
    for path in sorted((root / "depth").iterdir()):
        np.save(path.with_suffix(".npy"), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
        rows = rows.replace(f"depth/{path.name}", f"depth/{path.stem}.npy")
    (root / "samples.csv").write_text(rows)

    def depth() -> tuple[str, torch.Tensor]:
        found = prepared(tiny(), tmp_path, root=str(root), cache=cache)
        return found.data_fingerprint, next(iter(found.loaders.val())).depth

    before, old = depth()
    for path in (root / "depth").glob("*.npy"):
        np.save(path, np.load(path) // 2 + 500)
        os.utime(path, ns=(0, 1))
    after, new = depth()
    assert before == after  # nobody reads 400,000 files to know what data these are
    assert (new < old).any()


def test_memory_keeps_the_samples_of_every_size(tiny: Make, tmp_path: Path) -> None:
    stages = [{"epochs": 1, "size": size, "batch_size": 8} for size in (16, 24, 16)]
    found = prepared(tiny(stages=stages), tmp_path, cache="memory").loaders
    kept = [found._dataset(found.split.train, (size, size))._kept for size in (16, 24)]
    assert [len(one) for one in kept] == [len(found.split.train)] * 2
    assert len(found._dataset(found.split.val, (16, 16))._kept) == len(found.split.val)


def test_a_pack_is_trained_on_like_a_folder_and_needs_no_cache_at_its_size(tiny: Make, tmp_path: Path) -> None:
    data = tiny()
    pack(read(Path(data["data"]["root"])), tmp_path / "pack", size=(32, 32), workers=1)
    folder, packed = prepared(data, tmp_path), prepared(data, tmp_path, root=str(tmp_path / "pack"))
    assert packed.loaders.cache == "none"
    assert torch.equal(first(folder), first(packed))
    assert folder.split == packed.split
    larger = [{"epochs": 1, "size": [32, 48], "batch_size": 8}]
    with pytest.raises(DataError) as caught:
        prepared(tiny(stages=larger), tmp_path, root=str(tmp_path / "pack"))
    assert str(caught.value) == (
        f"{tmp_path}/pack: is a pack of 32x32, but a stage asks for 32x48, which would only enlarge; pack the data set "
        "at that size, or train on the data set itself."
    )
    smaller = [{"epochs": 3, "size": 16, "batch_size": 8}]
    assert prepared(tiny(stages=smaller), tmp_path, root=str(tmp_path / "pack")).loaders.cache == "memory"


def repainted(root: Path, ids: Sequence[str], grey: int) -> None:
    """Give the images of a part one grey, with one pixel of another."""
    index = read(root)
    for row in index.samples.rows(ids):
        path = index.pictures / index.samples[int(row)].image
        pixels = np.full_like(cv2.imread(str(path)), grey)
        pixels[0, 0] = 255 - grey
        cv2.imwrite(str(path), pixels)


def test_normalisation_by_the_data_takes_the_training_part_alone(tiny: Make, tmp_path: Path) -> None:
    root = tmp_path / "rooms"
    synth(root, count=48, size=32, seed=1, workers=1)
    parts = prepared(tiny(), tmp_path, root=str(root)).split
    for part, grey in (("train", 51), ("val", 200), ("test", 0)):
        repainted(root, getattr(parts, part), grey)
    told: list[tuple[int, int]] = []
    config = parse_experiment({**tiny(), "data": tiny()["data"] | {"root": str(root), "normalisation": "data"}}, "test")
    model = prepare(config, Home(tmp_path), lambda done, total: told.append((done, total))).model
    # of 1,024 pixels one is 204: mean (1023 * 51 + 204) / 1024 / 255, deviation 153 * sqrt(1023) / 1024 / 255
    assert model.mean.flatten().tolist() == pytest.approx([0.2 + 0.6 / 1024] * 3, rel=1e-6)
    assert model.std.flatten().tolist() == pytest.approx([0.6 * 1023**0.5 / 1024] * 3, rel=1e-6)
    assert told[0] == (len(parts.train), len(parts.train))
    (kept,) = (tmp_path / "packs").glob("*-colours.json")
    kept.write_text(json.dumps([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]))  # which is read, not counted once more
    again = prepared(tiny(), tmp_path, root=str(root), normalisation="data").model
    assert again.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    kept.write_text("[")  # by a machine that lost power
    mended = prepared(tiny(), tmp_path, root=str(root), normalisation="data").model
    assert torch.equal(mended.mean, model.mean)
    pack(read(root), tmp_path / "pack", size=(32, 32), workers=1)
    packed = prepared(tiny(), tmp_path, root=str(tmp_path / "pack"), normalisation="data").model
    assert torch.equal(packed.mean, model.mean)
    assert torch.equal(packed.std, model.std)


def test_another_split_has_other_colours(tiny: Make, tmp_path: Path) -> None:
    one, other = (
        prepared(tiny(), tmp_path, normalisation="data", split={"val": 0.25, "test": 0.25, "seed": seed}).model
        for seed in (0, 1)
    )
    assert not torch.equal(one.mean, other.mean)
    assert len(list((tmp_path / "packs").glob("*-colours.json"))) == 2


def test_colours_without_a_deviation_cannot_be_divided_by(tiny: Make, tmp_path: Path) -> None:
    root = tmp_path / "rooms"
    synth(root, count=24, size=32, seed=1, workers=1)
    for path in (root / "image").iterdir():
        cv2.imwrite(str(path), np.full((32, 32, 3), 7, np.uint8))
    with pytest.raises(DataError) as caught:
        prepared(tiny(), tmp_path, root=str(root), normalisation="data")
    assert str(caught.value) == (
        f"{root}: a colour is the same in every pixel that is learned from, so nothing can be divided by its "
        "deviation; set data.normalisation to model."
    )


def test_a_run_records_its_normalisation_and_goes_by_it(tiny: Make, tmp_path: Path) -> None:
    home = Home(tmp_path)
    found = prepared(tiny(), tmp_path, normalisation="data")
    run(found, home, "r", Tracking("e", stores=False))
    recorded = json.loads((home.run("r") / "normalisation.json").read_text())
    assert recorded["of"] == f"{len(found.split.train)} training samples of {found.index.name}"
    assert recorded["mean"] == found.model.mean.flatten().tolist()
    assert recorded["std"] == found.model.std.flatten().tolist()
    for kept in (tmp_path / "packs").glob("*-colours.json"):
        kept.write_text(json.dumps([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]))
    model = trained(home, "r").model  # as `dmx predict` and `dmx evaluate` have it
    assert model.mean.flatten().tolist() == recorded["mean"]
    assert model.std.flatten().tolist() == recorded["std"]


def test_a_folder_of_data_in_the_home_folder(tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(tiny()["data"]["root"])
    monkeypatch.setenv("HOME", str(root.parent))
    found = prepared(tiny(), tmp_path, root=f"~/{root.name}")
    assert found.index.root == root
    assert found.config.data.root == f"~/{root.name}"  # the record holds wherever that home folder is
    with pytest.raises(DataError, match=r"\$HOME/x: no such folder of data \(\$HOME is taken literally"):
        prepared(tiny(), tmp_path, root="$HOME/x")


def test_a_list_of_augmentations_stands_for_its_section() -> None:
    base = {
        "name": "x",
        "data": {"root": "r"},
        "model": "depthmasknet",
        "loss": {"mask": "bce", "depth": "l1"},
        "optimizer": "adamw",
        "stages": [{"epochs": 1, "size": 64, "batch_size": 8}],
    }
    short = parse_experiment({**base, "augment": ["horizontal_flip", {"name": "rotation", "degrees": 9}]}, "test")
    steps = [{"name": "horizontal_flip"}, {"name": "rotation", "degrees": 9}]
    long = parse_experiment({**base, "augment": {"where": "cpu", "steps": steps}}, "test")
    assert short == long
    assert parse_experiment(short.dump(), "dump") == short
    with pytest.raises(ConfigError) as caught:
        parse_experiment({**base, "augment": ["rotate", {"name": "rotation", "degrees": 999}]}, "test")
    assert "augment.steps.0: no augmentation 'rotate'; did you mean 'rotation'?" in str(caught.value)
    assert "augment.steps.1.degrees: must be less than or equal to 180, but got 999" in str(caught.value)
    with pytest.raises(ConfigError, match="augment: must be a list of augmentations, but got 'auto'; `auto`"):
        parse_experiment({**base, "augment": "auto"}, "test")
    with pytest.raises(ConfigError, match="names an augmentation twice"):
        parse_experiment({**base, "augment": ["rotation", "rotation"]}, "test")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named_without_a_traceback(tiny: Make, tmp_path: Path, workers: int) -> None:
    root = tmp_path / "rooms"
    synth(root, count=24, size=32, seed=1, workers=1)
    found = prepared(tiny(), tmp_path, root=str(root), cache="none", workers=workers)
    for path in (root / "mask").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        first(found)
    text = str(caught.value)
    assert text.startswith(f"{root}/mask/")
    assert text.endswith("is truncated or damaged (0 bytes); restore the picture or leave it out.")
    assert "\n" not in text


@pytest.mark.slow
def test_two_runs_that_need_the_same_pack_make_it_once(tiny: Make, tmp_path: Path) -> None:
    config = tmp_path / "e.json"
    config.write_text(json.dumps({**tiny(), "data": tiny()["data"] | {"cache": "disk"}}))
    script = (
        "import json, sys; from pathlib import Path; from dmx.config import parse_experiment\n"
        "from dmx.experiment import prepare; from dmx.tracking import Home\n"
        "if __name__ == '__main__':\n"
        "    config = parse_experiment(json.loads(Path(sys.argv[1]).read_text()), 'e')\n"
        "    found = prepare(config, Home(Path(sys.argv[2])))\n"
        "    print(len(next(iter(found.loaders.val()))))\n"
    )
    command = [sys.executable, "-c", script, str(config), str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate() for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert [out for out, _ in said] == ["8\n", "8\n"]
    assert len([path for path in (tmp_path / "packs").iterdir() if path.is_dir()]) == 1
