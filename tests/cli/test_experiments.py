"""Every file in experiments/ runs through the command line, on tiny synthetic quartets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dmx.config.reading import read_yaml
from dmx.datatools.synth import synth

Run = Callable[..., Any]
FILES = sorted((Path(__file__).parents[2] / "experiments").iterdir())


@pytest.fixture(scope="session")
def relative_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "relative"
    synth(out, count=24, size=32, seed=0, kind="relative", workers=1)
    return out


def test_none_is_missed() -> None:
    assert [path.suffix for path in FILES] == [".yaml"] * len(FILES)
    assert {"baseline", "composed", "composed_study", "nyuv2", "nyuv2_study", "published_recipe", "quickstart"} <= {
        path.stem for path in FILES
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_runs(dmx: Run, path: Path, tiny_data: Path, relative_data: Path, tmp_path: Path) -> None:
    data = read_yaml(path)
    study = "search" in data
    experiment = data["experiment"] if study else data
    root = relative_data if experiment.get("depth_link") == "identity" else tiny_data
    stages = [{**stage, "epochs": 1, "size": 32, "batch_size": 8} for stage in experiment["stages"]]
    settings = {"data.root": root, "stages": yaml.safe_dump(stages, default_flow_style=True).strip()}
    prefix = "experiment." if study else ""
    changes = [word for key, value in settings.items() for word in ("-s", f"{prefix}{key}={value}")]
    changes += ["-s", "pruner=none"] if study else []  # there is nothing to prune in one epoch
    said = dmx("sweep" if study else "train", path, *changes, *(["--trials", 2] if study else []), "--home", tmp_path)
    assert said.code == 0, said
    assert ("Study" if study else "Results are in") in said.out
    results = [path for path in (tmp_path / "runs").glob("*/result.json") if '"complete"' in path.read_text()]
    assert len(results) == (2 if study else 1)
    if study:
        refused = dmx("train", "--resume", results[0].parent.name, "--home", tmp_path)
        assert refused.code == 2
        assert "this run belongs to study" in refused.err
