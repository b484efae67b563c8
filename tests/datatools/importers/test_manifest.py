"""A mapping with a table of paths, CSV or Parquet."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dmx.data.layout import read
from dmx.data.reading import read_quartet
from dmx.data.writing import Summary
from dmx.errors import ConfigError, DataError

Run = Callable[..., Summary]
Map = Callable[..., Path]

METRES = np.linspace(0.5, 9, 24, dtype=np.float32).reshape(4, 6)


def table() -> dict[str, list[str | int | None]]:
    return {
        "frame": [7, 8],
        "colour": ["rgb/a1.png", "rgb/a2.png"],
        "seg": ["mask/a1.png", "mask/a2.png"],
        "z": ["depth/a1.png", "depth/a2.png"],
        "scene": ["x", "y"],
        "part": ["train", "test"],
    }


COLUMNS = {"id": "frame", "image": "colour", "mask": "seg", "depth": "z", "group": "scene", "split": "part"}
BY_TABLE = {"files": "left out", "group": "left out", "columns": COLUMNS}


def write_csv(path: Path, columns: dict[str, list[str | int | None]]) -> None:
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    path.write_text("".join(",".join("" if cell is None else str(cell) for cell in row) + "\n" for row in rows))


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_manifest(pictures: Path, tmp_path: Path, run: Run, map_: Map, name: str) -> None:
    if name == "list.csv":
        write_csv(pictures / name, table())
    else:
        pq.write_table(pa.table(table()), pictures / name)
    assert run("mapping", map_(manifest=name, **BY_TABLE)).samples == 2
    index = read(tmp_path / "out")
    index.check_files()
    assert [(r.id, r.group, r.split) for r in index.samples] == [("7", "x", "train"), ("8", "y", "test")]
    assert read_quartet(index, index.samples[1]).depth == pytest.approx(METRES, abs=0.00051)


def test_manifest_without_names_and_with_gaps(pictures: Path, tmp_path: Path, run: Run, map_: Map) -> None:
    columns = table()
    columns["seg"][1] = None
    for column, values in columns.items():
        values += {"colour": ["rgb/a2.png"], "seg": ["mask/none.png"], "z": ["depth/a2.png"]}.get(column, [None])
    pq.write_table(pa.table(columns), pictures / "list.parquet")
    given = {role: COLUMNS[role] for role in ("image", "mask", "depth")}
    mapping = map_(manifest="list.parquet", files="left out", columns=given, group="folder")
    assert str(run("mapping", mapping)).endswith(
        "1 samples in 1 groups; left out: 1 with a picture that is not there (mask/none.png), "
        "1 without mask (rgb/a2.png)"
    )
    assert [(r.id, r.group) for r in read(tmp_path / "out").samples] == [("rgb/a1", "rgb")]


def test_one_name_twice(pictures: Path, run: Run, map_: Map) -> None:
    write_csv(pictures / "list.csv", {**table(), "frame": ["7", "7"]})
    assert str(run("mapping", map_(manifest="list.csv", **BY_TABLE))).endswith(
        "1 samples in 1 groups; left out: 1 with the name of another (rgb/a2.png)"
    )


@pytest.mark.parametrize("home", [False, True])
def test_paths_from_the_root_are_told_what_to_leave_away(
    pictures: Path, run: Run, map_: Map, home: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(pictures))
    path = "~/mask/a2.png" if home else f"{pictures}/mask/a2.png"
    write_csv(pictures / "list.csv", {**table(), "seg": ["mask/a1.png", path]})
    with pytest.raises(DataError) as caught:
        run("mapping", map_(manifest="list.csv", **BY_TABLE))
    assert str(caught.value) == (
        f"{pictures}/list.csv: 1 paths of the mask leave the folder, the first is '{path}'; paths are relative to "
        f"`folder` of the mapping, so take '{pictures}/' away from their beginning."
    )


def test_a_folder_and_a_manifest_in_the_home_folder(
    pictures: Path, run: Run, map_: Map, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(pictures.parent))
    write_csv(pictures / "list.csv", table())
    folder = f"~/{pictures.name}"
    assert "2 samples" in str(run("mapping", map_(folder=folder, manifest=f"{folder}/list.csv", **BY_TABLE)))


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret.png", "rgb/../../x.png", ".."])
def test_manifest_that_leaves_the_folder(pictures: Path, tmp_path: Path, run: Run, map_: Map, path: str) -> None:
    write_csv(pictures / "list.csv", {**table(), "seg": ["mask/a1.png", path]})
    with pytest.raises(DataError) as caught:
        run("mapping", map_(manifest="list.csv", **BY_TABLE))
    assert str(caught.value) == (
        f"{pictures}/list.csv: 1 paths of the mask leave the folder, the first is '{path}'; paths are relative to "
        "`folder` of the mapping."
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("parts", "odd"), [(["train", "dev"], "dev"), (["train", None], "")])
def test_manifest_with_another_split(
    pictures: Path, run: Run, map_: Map, parts: list[str | int | None], odd: str
) -> None:
    write_csv(pictures / "list.csv", {**table(), "part": parts})
    with pytest.raises(DataError) as caught:
        run("mapping", map_(manifest="list.csv", **BY_TABLE))
    assert str(caught.value) == (
        f"{pictures}/list.csv: column 'part' holds '{odd}' where each row must say train, val or test, or none does."
    )


def test_manifest_without_the_columns(pictures: Path, run: Run, map_: Map) -> None:
    (pictures / "list.csv").write_text("frame,colours,seg,z,scene,scene\n1,2,3,4,5,6\n")
    with pytest.raises(ConfigError) as caught:
        run("mapping", map_(manifest="list.csv", **BY_TABLE))
    mapping = pictures / "mapping.yaml"
    known = "Known: colours, frame, scene, scene, seg, z"
    assert str(caught.value) == (
        f"{mapping} has 3 problems:\n"
        f"  columns.image: no column 'colour' in {pictures}/list.csv; did you mean 'colours'? {known}\n"
        f"  columns.group: 2 columns 'scene' in {pictures}/list.csv; did you mean 'scene'? {known}\n"
        f"  columns.split: no column 'part' in {pictures}/list.csv; {known}"
    )


@pytest.mark.parametrize(("sign", "called"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_manifest_with_other_signs(pictures: Path, run: Run, map_: Map, sign: str, called: str) -> None:
    write_csv(pictures / "list.csv", table())
    (pictures / "list.csv").write_text((pictures / "list.csv").read_text().replace(",", sign))
    with pytest.raises(DataError) as caught:
        run("mapping", map_(manifest="list.csv", **BY_TABLE))
    assert str(caught.value) == f"{pictures}/list.csv: has {called} between its cells; save it with commas."


def test_blanks_around_cells_and_around_names_of_files(pictures: Path, tmp_path: Path, run: Run, map_: Map) -> None:
    write_csv(pictures / "list.csv", {**table(), "frame": [" 7", "8 "], "scene": ["x ", " x"]})
    assert "2 samples in 1 groups" in str(run("mapping", map_(manifest="list.csv", **BY_TABLE)))
    assert [(one.id, one.group) for one in read(tmp_path / "out").samples] == [("7", "x"), ("8", "x")]


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "empty.csv", "text.parquet"])
def test_manifest_that_is_none(pictures: Path, run: Run, map_: Map, name: str) -> None:
    if not name.startswith("none"):
        (pictures / name).write_text("")
    with pytest.raises(DataError, match=rf"{name}: cannot be read as a table \(.*\); give a .csv in UTF-8 or a .parqu"):
        run("mapping", map_(manifest=name, **BY_TABLE))


def test_manifest_with_another_type(pictures: Path, run: Run, map_: Map) -> None:
    pq.write_table(pa.table({**table(), "seg": [["a"], ["b"]]}), pictures / "list.parquet")
    with pytest.raises(
        DataError, match=r"list.parquet: column 'seg' cannot be read as text \(.*\); give paths and nam"
    ):
        run("mapping", map_(manifest="list.parquet", **BY_TABLE))
