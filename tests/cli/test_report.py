"""`dmx report`: where the page goes, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Run = Callable[..., Any]
pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


def test_the_page_lies_beside_the_study_or_where_it_is_wanted(
    dmx: Run, tmp_path: Path, tiny: Callable[..., dict[str, Any]]
) -> None:
    study = {"name": "one", "experiment": tiny(), "search": {"optimizer.adamw.lr": [1e-3, 2e-3]}, "trials": 1}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    home = tmp_path / "home"
    assert dmx("sweep", tmp_path / "study.yaml", "--home", home).code == 0
    said = dmx("report", "one", "--home", home)
    assert said.code == 0, said.err
    beside = home / "studies/one/report.html"
    assert f"Wrote {beside}" in said.out
    assert "It is the only complete trial" in beside.read_text(encoding="utf-8")
    other = tmp_path / "new" / "page.html"
    assert dmx("report", "one", "--home", home, "--out", other).code == 0
    assert other.read_text(encoding="utf-8") == beside.read_text(encoding="utf-8")

    refused = dmx("report", "oen", "--home", home)
    assert refused.code == 2
    assert "no study 'oen'" in refused.err
    assert "did you mean 'one'?" in refused.err
    assert not (home / "studies/oen").exists()


def test_an_empty_home_says_what_makes_a_study(dmx: Run, tmp_path: Path) -> None:
    refused = dmx("report", "tiny", "--home", tmp_path)
    assert refused.code == 2
    assert "no study 'tiny'" in refused.err
    assert "`dmx sweep` makes one." in refused.err
    assert list(tmp_path.iterdir()) == []
