"""`dmx predict` on whatever people have: patterns, videos, data sets, ensembles; and when it is stopped or misused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from filelock import FileLock
from helpers.small_runs import small_run

from dmx.cli import run as run_command
from dmx.cli.predict import predict as command
from dmx.data.layout import read
from dmx.data.pack.write import pack
from dmx.datatools.synth import synth
from dmx.errors import MachineError, UserError
from dmx.experiment.trained import calibration_path
from dmx.tracking import Home

Predict = Callable[..., str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    for name, inputs, seed in (("alone", "image", 0), ("twin", "image", 1), ("both", "image+background", 0)):
        small_run(home, tiny_data, name, inputs, seed=seed)
    return home


@pytest.fixture
def predict(home: Home) -> Predict:
    """Runs the command; what it says."""

    def invoke(*arguments: object) -> str:
        given = [*map(str, arguments), "--home", str(home.root)]
        return CliRunner().invoke(command, given, catch_exceptions=False).output.strip()

    return invoke


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    return some(tmp_path / "photographs", 6)


def some(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"day{number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), rng.integers(0, 255, (24 + number % 5, 40, 3), dtype=np.uint8))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """What is in a folder; of the manifest, the lines in any order."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return found | {"manifest.jsonl": b"".join(sorted(found["manifest.jsonl"].splitlines(keepends=True)))}


def lines(out: Path) -> dict[str, dict[str, object]]:
    """The manifest by the pictures' names."""
    found = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert (found[0]["name"], found[0]["status"]) == (None, "begun")
    assert len({line["name"] for line in found}) == len(found)
    return {line["name"]: line for line in found[1:]}


def test_a_pattern_names_pictures_by_what_follows_its_fixed_part(
    predict: Predict, photographs: Path, tmp_path: Path
) -> None:
    assert "of 3 pictures" in predict("alone", f"{photographs}/*/*[024].png", tmp_path / "out")
    assert set(lines(tmp_path / "out")) == {"day0/00", "day0/02", "day0/04"}
    predict("alone", photographs / "day0/00.png", photographs / "day1", tmp_path / "several")
    assert set(lines(tmp_path / "several")) == {"00", "01", "03", "05"}
    with pytest.raises(UserError, match=r"nothing\*\.png: matches no picture or video \(.*\); name a picture"):
        predict("alone", tmp_path / "nothing*.png", tmp_path / "none")
    with pytest.raises(UserError, match=r"nowhere: is not there; name a picture, a video"):
        predict("alone", tmp_path / "nowhere", tmp_path / "none")
    with pytest.raises(UserError, match=r"day0/00.png and .*/00.png have one name"):
        predict("alone", photographs / "day0/00.png", f"{photographs}/day0/*.png", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def film(path: Path, frames: int, form: str) -> Path:
    """Frame number n, from 0, has grey values about 20 n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*form), 25, (64, 48))
    noise = np.random.default_rng(0).integers(0, 20, (48, 64, 3), dtype=np.uint8)
    for number in range(frames):
        writer.write(noise + np.uint8(20 * number % 220))
    writer.release()
    return path


@pytest.mark.parametrize(("ending", "form"), [("mp4", "mp4v"), ("avi", "MJPG"), ("mkv", "MJPG"), ("webm", "VP80")])
def test_the_frames_of_a_video(predict: Predict, tmp_path: Path, ending: str, form: str) -> None:
    predict("alone", film(tmp_path / f"clip.{ending}", 11, form), tmp_path / "out")
    assert list(lines(tmp_path / "out")) == [f"clip/{number:06d}" for number in range(1, 12)]
    seen = cv2.imread(str(tmp_path / "out/view/clip/000011.png"))[:, :64]
    assert seen.mean() == pytest.approx(210, abs=5)


def test_a_video_that_is_cut_off_gives_its_frames_and_is_named(predict: Predict, tmp_path: Path) -> None:
    whole = film(tmp_path / "clip.avi", 60, "MJPG")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "junk.mp4").write_bytes(b"no video")
    with pytest.raises(MachineError, match=r"2 of \d+ pictures failed") as said:
        predict("alone", whole, tmp_path / "junk.mp4", tmp_path / "out")
    assert "of 60 frames; restore it, or cut it there" in str(said.value)
    assert "junk.mp4: cannot be read as a video; restore it, or convert it by `ffmpeg`." in str(said.value)
    found = lines(tmp_path / "out")
    assert [line["status"] for line in found.values()].count("ok") == len(found) - 2 > 2


def test_a_video_among_photographs_is_left_out_and_said(predict: Predict, photographs: Path, tmp_path: Path) -> None:
    film(photographs / "clip.mp4", 2, "mp4v")
    assert "Left out: clip.mp4 is a video; name it by itself" in predict("alone", photographs, tmp_path / "out")
    odd = photographs / os.fsdecode(b"a\xff.mp4")
    (photographs / "clip.mp4").rename(odd)
    with pytest.raises(UserError, match=r"a\\xff.mp4: is a video whose name is not UTF-8; rename it"):
        predict("alone", odd, tmp_path / "none")


def test_a_data_set_knows_its_backgrounds(predict: Predict, tiny_data: Path, tmp_path: Path) -> None:
    assert "of 48 pictures" in predict("both", tiny_data, tmp_path / "all")
    assert "of 12 pictures" in predict("both", tiny_data, tmp_path / "part", "--part", "val")
    record = read(tiny_data).samples[0]
    assert record.background is not None
    predict("both", tiny_data / record.image, tmp_path / "one", "--backgrounds", tiny_data / record.background)
    alone = np.load(tmp_path / f"one/depth/{Path(record.image).stem}.npy")
    assert np.load(tmp_path / f"all/depth/{record.id}.npy") == pytest.approx(alone, rel=1e-5)
    with pytest.raises(UserError, match="the data set has the backgrounds itself; leave out --backgrounds"):
        predict("both", tiny_data, tmp_path / "none", "--backgrounds", tiny_data / "background")
    with pytest.raises(UserError, match="of a data set of dmx name its folder, and backgrounds are known"):
        predict("both", tiny_data / "image", tmp_path / "none", "--backgrounds", tiny_data / "background")


def test_a_pack_is_a_data_set(predict: Predict, tiny_data: Path, tmp_path: Path) -> None:
    pack(read(tiny_data), tmp_path / "pack", size=(32, 32), workers=1)
    predict("both", tmp_path / "pack", tmp_path / "packed")
    predict("both", tiny_data, tmp_path / "plain")
    for path in (tmp_path / "plain/depth").iterdir():
        assert np.load(tmp_path / "packed/depth" / path.name) == pytest.approx(np.load(path), rel=1e-5)


def test_an_ensemble_lies_between_its_members(predict: Predict, photographs: Path, tmp_path: Path) -> None:
    square = photographs / "day0/00.png"  # at the network's size, so that nothing is resized
    assert cv2.imwrite(str(square), cv2.resize(cv2.imread(str(square)), (32, 32)))
    for run in ("alone", "twin"):
        predict(run, photographs, tmp_path / run)
    said = predict("alone", photographs, tmp_path / "out", "--with", "twin", "--uncertainty")
    assert said.strip().endswith(
        "now has mask, depth, view and uncertainty (uncertainty/mask, uncertainty/depth) of 6 pictures."
    )
    one, two = (np.load(tmp_path / run / "depth/day0/00.npy") for run in ("alone", "twin"))
    assert np.load(tmp_path / "out/depth/day0/00.npy") == pytest.approx((one + two) / 2, rel=1e-5)
    assert np.load(tmp_path / "out/uncertainty/depth/day0/00.npy") == pytest.approx(abs(one - two) / 2, abs=1e-5)
    line = lines(tmp_path / "out")["day0/00"]
    assert [one["run"] for one in line["networks"]] == ["alone", "twin"]  # type: ignore[attr-defined]
    assert (line["width"], line["height"], line["status"]) == (32, 32, "ok")
    assert sorted(line["outputs"].values()) == sorted(  # type: ignore[attr-defined]
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("00.*")
    )


def test_what_does_not_fit_is_said_before_anything_is_written(
    predict: Predict, home: Home, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="both has inputs image and background, alone the image alone"):
        predict("alone", photographs, out, "--with", "twin", "--with", "both")
    with pytest.raises(UserError, match="twin is named twice"):
        predict("alone", photographs, out, "--with", "twin", "--with", "twin")
    with pytest.raises(UserError, match="uncertainty is the spread of several predictions; add --tta flip, or --with"):
        predict("alone", photographs, out, "--uncertainty")
    synth(tmp_path / "relative", count=16, size=32, seed=0, kind="relative", workers=1)
    small_run(home, tmp_path / "relative", "relative", "image")
    with pytest.raises(UserError, match="a point cloud needs depth in metres, but that of relative is relative"):
        predict("relative", photographs, out, "--depth-format", "ply")
    assert not out.exists()


def test_a_broken_picture_is_named_and_the_rest_goes_on(
    home: Home,
    predict: Predict,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = photographs / "day0/02.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    given = ["dmx", "predict", "alone", str(photographs), str(tmp_path / "out"), "--home", str(home.root)]
    monkeypatch.setattr(sys, "argv", given)
    assert run_command() == 1
    said = capsys.readouterr()
    assert "now has mask, depth and view of 5 pictures." in said.out
    assert "Error: 1 of 6 pictures failed; the same command tries these alone once more:\n  day0/02: " in said.err
    assert f"{broken}: is truncated or damaged" in said.err
    assert "Traceback" not in said.err
    entry = lines(tmp_path / "out")["day0/02"]
    assert entry["status"] == "failed"
    assert str(entry["error"]).startswith(f"{broken}: is truncated")
    assert {(one["status"], one["error"]) for one in lines(tmp_path / "out").values()} >= {("ok", None)}
    broken.write_bytes(whole)
    assert "of 6 pictures, 5 of them from before." in predict("alone", photographs, tmp_path / "out")
    predict("alone", photographs, tmp_path / "undisturbed")
    assert files(tmp_path / "out") == files(tmp_path / "undisturbed")


def test_what_is_done_is_not_done_again(predict: Predict, photographs: Path, tmp_path: Path) -> None:
    predict("alone", photographs, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*") if path.suffix != ".jsonl"}
    shutil.copy(photographs / "day0/00.png", photographs / "new.png")
    assert "of 7 pictures, 6 of them from before." in predict("alone", photographs, tmp_path / "out")
    assert before == {path: path.stat().st_mtime_ns for path in before}
    manifest = tmp_path / "out/manifest.jsonl"  # as an earlier version wrote it
    text = manifest.read_text().replace('"status": "ok"', '"status": "done"')
    manifest.write_text(text.replace(', "error": null', ""))
    assert '"error"' not in manifest.read_text()
    assert "of 7 pictures, 7 of them from before." in predict("alone", photographs, tmp_path / "out")
    assert {(line["status"], line["error"]) for line in lines(tmp_path / "out").values()} == {("ok", None)}


def test_a_folder_of_other_things_or_settings_is_refused(predict: Predict, photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not overwritten: it has no manifest.jsonl of `dmx predict`; choose"):
        predict("alone", photographs, photographs)
    predict("alone", photographs, tmp_path / "out")
    with pytest.raises(UserError, match=r'was begun with depth_format "npy" instead of "png16"; choose another folder'):
        predict("alone", photographs, tmp_path / "out", "--depth-format", "png16")
    with pytest.raises(UserError, match=r"was begun with networks alone \(\w{8}\) instead of twin \(\w{8}\); choose"):
        predict("twin", photographs, tmp_path / "out")
    shutil.copytree(photographs, tmp_path / "copy")
    with pytest.raises(UserError, match=r"has day0/00 of .*photographs/.* already, not of .*copy/day0/00.png; choose"):
        predict("alone", tmp_path / "copy", tmp_path / "out")
    with FileLock(tmp_path / "out/.lock"), pytest.raises(UserError, match="another process is writing it; wait until"):
        predict("alone", photographs, tmp_path / "out")
    (tmp_path / "out/manifest.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"manifest.jsonl: is damaged \(.*\); remove .*out and predict again"):
        predict("alone", photographs, tmp_path / "out")


def test_another_calibration_of_the_same_name_is_not_mixed_in(
    home: Home, predict: Predict, photographs: Path, tmp_path: Path
) -> None:
    path = calibration_path(home, "alone", "office")
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"scale": 2.0, "power": 1.0}')
    predict("alone", photographs, tmp_path / "out", "--calibration", "office")
    path.write_text('{"scale": 4.0, "power": 1.0}')
    with pytest.raises(UserError, match=r'begun with calibration "office: 2.0 d\^1.0" instead of "office: 4.0 d\^1.0"'):
        predict("alone", photographs, tmp_path / "out", "--calibration", "office")


def test_frames_and_pictures_of_one_name_are_refused(predict: Predict, photographs: Path, tmp_path: Path) -> None:
    """The frames of day0.avi are day0/000001 and so on, as pictures in a folder day0 may be."""
    film(tmp_path / "day0.avi", 3, "MJPG")
    with pytest.raises(UserError, match=r"day0.avi and .*day0/00.png have one name, but each gives one mask; rename"):
        predict("alone", tmp_path / "day0.avi", photographs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_part_is_that_of_a_data_set(predict: Predict, photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--part is of a data set of dmx, and none is named; leave it out"):
        predict("alone", photographs, tmp_path / "out", "--part", "val")
    assert not (tmp_path / "out").exists()


def test_a_killed_command_goes_on_to_the_same_files(home: Home, predict: Predict, tmp_path: Path) -> None:
    photographs, out = some(tmp_path / "photographs", 150), tmp_path / "out"
    arguments = ["alone", photographs, out, "--batch", "4", "--tta", "flip", "--home", home.root]
    process = subprocess.Popen([sys.executable, "-m", "dmx", "predict", *map(str, arguments)])
    try:
        while process.poll() is None and not (out / "manifest.jsonl").exists():
            time.sleep(0.02)
        while process.poll() is None and len((out / "manifest.jsonl").read_bytes().splitlines()) < 10:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    finally:
        assert process.wait(60) == -signal.SIGKILL
    with (out / "manifest.jsonl").open("ab") as manifest:
        manifest.write(b'{"name": "da')  # as a kill within a write leaves it
    assert ", " in predict(*arguments[:-2])
    predict("alone", photographs, tmp_path / "undisturbed", "--batch", "4", "--tta", "flip")
    assert files(out) == files(tmp_path / "undisturbed")
    assert len(lines(out)) == 150
