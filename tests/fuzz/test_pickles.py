"""Nothing that is read can run code: whatever file is replaced by one that would, it is refused, and nothing ran."""

import base64
import io
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from helpers.fuzzing import command
from helpers.homes import EXPERIMENT, copy_home

from dmx.data.layout import read
from dmx.data.pack.write import pack

pytestmark = pytest.mark.usefixtures("home")


class Bomb:
    """What touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def saved(save: Callable[[Any, io.BytesIO], object], what: Any) -> bytes:
    target = io.BytesIO()
    save(what, target)
    return target.getvalue()


def extended(bomb: bytes) -> pa.Table:
    """A table with a column whose type pyarrow once unpickled."""
    facts = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": bomb}
    return pa.table([pa.array(["a"])], schema=pa.schema([pa.field("id", pa.string(), metadata=facts)]))


def as_stream(table: pa.Table, target: io.BytesIO) -> None:
    with pa.ipc.new_stream(target, table.schema) as writer:
        writer.write_table(table)


FORMS: dict[str, Callable[[Bomb], bytes]] = {
    "pickle": pickle.dumps,
    "torch": lambda bomb: saved(torch.save, {"model": bomb, "position": {}}),
    "old torch": lambda bomb: saved(lambda w, f: torch.save(w, f, _use_new_zipfile_serialization=False), {"m": bomb}),
    "numpy": lambda bomb: saved(lambda w, f: np.save(f, np.array([w], object), allow_pickle=True), bomb),
    "arrow": lambda bomb: saved(as_stream, extended(pickle.dumps(bomb))),
    "parquet": lambda bomb: saved(lambda w, f: pq.write_table(w, f), extended(pickle.dumps(bomb))),
}
DOORS = {
    "home/runs/r/checkpoint.pt": "train --resume r --home home",
    "home/runs/r/best.safetensors": "predict r data/image out --home home",
    "home/runs/r/config.yaml": "predict r data/image out --home home",
    "home/runs/r/depth.json": "predict r data/image out --home home",
    "home/runs/r/identity.json": "evaluate r data --home home",
    "home/runs/r/split.json": "evaluate r data --home home",
    "home/runs/r/journal.jsonl": "train --resume r --home home",
    "home/runs/r/result.json": "leaderboard --home home",
    "home/runs/st-0001/val_samples.parquet": "compare r st-0001 --home home",
    "home/studies/st/optuna.journal": "explain st 1 --home home",
    "home/studies/st/study.yaml": "report st --home home",
    "data/dataset.yaml": "data check data",
    "data/samples.csv": "data check data",
    "data/stats.json": "data stats data",
    "data/depth/000000.png": "data show data out.png --ids 000000",
    "data/depth/000000.npy": "data show data out.png --ids 000000",
    "pack/pack.json": "data stats pack",
    "pack/samples-00000.arrow": "train packed.yaml --home other",
    "list.csv": "data import mapping csv.yaml out",
    "list.parquet": "data import mapping parquet.yaml out",
    "set.zip": "data import eva4 set.zip out",
    "nyu_depth_v2_labeled.mat": "data import nyuv2 nyu_depth_v2_labeled.mat out",
    "depth.onnx": "data compose data cut out --depth-model depth.onnx",
    "depth.pt2": "data compose data cut out --depth-model depth.pt2",
}
BINARY = (".pt", ".safetensors", ".npy", ".arrow", ".parquet", ".onnx", ".mat", ".zip")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    copy_home(folder)
    pack(read(folder / "data"), folder / "pack", size=(16, 16), encoding="raw")
    packed = {**EXPERIMENT, "data": {"root": "pack", "split": {"val": 0.25, "test": 0.25}}}
    (folder / "packed.yaml").write_text(yaml.safe_dump(packed))
    for kind in ("csv", "parquet"):
        columns = {"id": "id", "image": "image", "mask": "mask", "group": "group"}
        mapping = {"name": "x", "folder": "data", "manifest": f"list.{kind}", "columns": columns, "depth": None}
        (folder / f"{kind}.yaml").write_text(yaml.safe_dump(mapping))
    (folder / "cut").mkdir()
    for name in "abc":  # one for each part
        cv2.imwrite(str(folder / f"cut/{name}.png"), np.full((8, 8, 4), 255, np.uint8))
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_a_bomb_goes_off_where_it_is_unpickled(form: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    data = FORMS[form](Bomb(mark))
    if form == "parquet":
        data = base64.b64decode(pq.read_metadata(io.BytesIO(data)).metadata[b"ARROW:schema"])
    start = data.find(b"\x80\x04" if form in ("pickle", "arrow", "parquet") else b"\x80")
    assert start >= 0, "there is a pickle in it"
    if form in ("pickle", "arrow", "parquet"):
        pickle.loads(data[start:])
    elif form == "numpy":
        np.load(io.BytesIO(data), allow_pickle=True)
    else:
        torch.load(io.BytesIO(data), weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    ("name", "form"),
    [(name, form) for name in DOORS for form in FORMS if form == "pickle" or Path(name).suffix in BINARY],
)
def test_no_file_that_is_read_can_run_code(
    name: str, form: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [])
    mark, path, line = tmp_path / "mark", Path(name), DOORS[name]
    if "--resume" in line:
        Path("home/runs/r/result.json").unlink()
    if path.suffix == ".npy":
        rows = Path("data/samples.csv").read_text()
        Path("data/samples.csv").write_text(rows.replace("depth/000000.png", "depth/000000.npy"))
    data = FORMS[form](Bomb(mark))
    if path.suffix == ".arrow":  # whose length is known
        data = data[: path.stat().st_size].ljust(path.stat().st_size, b"\0")
    path.write_bytes(data)
    code, said = command(*line.split())
    assert not mark.exists()
    assert code == 2, said
    assert sum(line.startswith("Error: ") for line in said.splitlines()) == 1, said
    assert path.name in said
    assert len(said) < 2_000
