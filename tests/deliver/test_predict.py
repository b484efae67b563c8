"""Photographs in, files out; and a real MLflow server that gives the same numbers."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from helpers.serving import wait_until
from helpers.small_runs import small_run

from dmx.cli.predict import predict as command
from dmx.deliver.champion import register
from dmx.errors import UserError
from dmx.tracking import Home
from dmx.tracking.panel import GAP, SCALE
from dmx.tracking.syncing import sync
from dmx.training.checkpoint import load_weights

pytestmark = pytest.mark.filterwarnings("ignore:The `noload` loader strategy:DeprecationWarning")  # inside MLflow


def train(home: Home, data: Path, name: str, inputs: str, *, stores: bool) -> None:
    prepared = small_run(home, data, name, inputs, stores=stores)
    if stores:
        wait_until(lambda: sync(home, name) == 0)  # under load the forwarder may take longer than a run waits for it
        load_weights(home.run(name) / "best.safetensors", prepared.model)
        register(home, prepared, name, "tiny", "tiny-0000")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    train(home, tiny_data, "alone", "image", stores=False)
    train(home, tiny_data, "both", "image+background", stores=True)
    return home


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two of different sizes; the second is stored on its side, and says so."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    cv2.imwrite(str(folder / "a.png"), rng.integers(0, 255, (50, 70, 3), dtype=np.uint8))
    data = cv2.imencode(".jpg", cv2.resize(rng.integers(0, 255, (4, 6, 3), dtype=np.uint8), (60, 40)))[1].tobytes()
    turned = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    exif = b"\xff\xe1" + (len(turned) + 2).to_bytes(2, "big") + turned
    (folder / "b.jpg").write_bytes(data[:2] + exif + data[2:])
    return folder


def invoke(home: Home, *arguments: object) -> str:
    return CliRunner().invoke(command, [*map(str, arguments), "--home", str(home.root)], catch_exceptions=False).output


def test_each_picture_gives_mask_depth_and_a_view_of_its_size(home: Home, photographs: Path, tmp_path: Path) -> None:
    assert "mask, depth and view of 2 pictures" in invoke(home, "alone", photographs, tmp_path / "out")
    for name, (height, width) in {"a": (50, 70), "b": (60, 40)}.items():
        mask = cv2.imread(str(tmp_path / f"out/mask/{name}.png"), cv2.IMREAD_UNCHANGED)
        depth = np.load(tmp_path / f"out/depth/{name}.npy")
        assert mask.shape == depth.shape == (height, width)
        assert (mask.dtype, depth.dtype) == (np.uint8, np.float32)
        view = cv2.imread(str(tmp_path / f"out/view/{name}.png"))
        assert view.shape == (height, 3 * width + 8 + GAP + SCALE, 3)
    assert np.array_equal(view[:, :40], cv2.imread(str(photographs / "b.jpg")))


def test_one_background_or_one_of_each_name(home: Home, photographs: Path, tmp_path: Path) -> None:
    one = photographs / "a.png"
    invoke(home, "both", one, tmp_path / "one", "--backgrounds", one)
    invoke(home, "both", one, tmp_path / "folder", "--backgrounds", photographs)
    assert np.array_equal(np.load(tmp_path / "one/depth/a.npy"), np.load(tmp_path / "folder/depth/a.npy"))


def test_what_is_wrong_is_said_and_nothing_is_left(home: Home, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="takes the scene without the object, too; give it with --backgrounds"):
        invoke(home, "both", photographs, out)
    with pytest.raises(UserError, match="looks at the picture alone; leave out --backgrounds"):
        invoke(home, "alone", photographs, out, "--backgrounds", photographs)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no picture"):
        invoke(home, "alone", tmp_path / "empty", out)
    (photographs / "a.jpg").write_bytes((photographs / "b.jpg").read_bytes())
    with pytest.raises(UserError, match=r"a\.png and .*a\.jpg have one name"):
        invoke(home, "alone", photographs, out)
    assert not out.exists()


@contextmanager
def served(home: Home, log: Path) -> Iterator[str]:
    """The registered model behind `mlflow models serve`, without a way to the network."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {**os.environ, **nowhere, "PATH": path, "MLFLOW_TRACKING_URI": home.mlflow_uri, "HF_HUB_OFFLINE": "1"}
    arguments = ["serve", "-m", "models:/tiny@champion", "--env-manager", "local", "-p", str(port), "--workers", "1"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", *arguments],
            env=settings,
            cwd=log.parent,
            stdout=file,
            stderr=file,
            process_group=0,
        )
    address = f"http://127.0.0.1:{port}"

    def up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return urllib.request.urlopen(f"{address}/ping", timeout=5).status == 200
        except OSError:
            return False

    try:
        wait_until(up)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def test_a_real_server_gives_the_numbers_of_dmx_predict(home: Home, photographs: Path, tmp_path: Path) -> None:
    photograph = photographs / "a.png"
    invoke(home, "both", photograph, tmp_path / "out", "--backgrounds", photograph)
    picture = cv2.cvtColor(cv2.imread(str(photograph)), cv2.COLOR_BGR2RGB)[None].tolist()
    body = json.dumps({"inputs": {"image": picture, "background": picture}}).encode()
    with served(home, tmp_path / "serve.log") as address:
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            given = json.load(answer)["predictions"]
    # one lays pictures out channels last, so that sums are added in another order
    assert given["depth"][0] == pytest.approx(np.load(tmp_path / "out/depth/a.npy"), rel=1e-6)
    mask = cv2.imread(str(tmp_path / "out/mask/a.png"), cv2.IMREAD_UNCHANGED)
    assert np.array(given["mask"][0]) * 255 == pytest.approx(mask, abs=0.501)


def copies(photographs: Path, *names: str) -> None:
    for name in names:
        (photographs / name).parent.mkdir(parents=True, exist_ok=True)
        (photographs / name).write_bytes((photographs / "a.png").read_bytes())


def test_folders_of_folders_links_and_litter(home: Home, photographs: Path, tmp_path: Path) -> None:
    copies(photographs, "day/c.PNG", "day/a.png", "._a.png", ".hidden/d.png", "__MACOSX/e.png")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (photographs / "a.png").rename(elsewhere / "f.v2.png")
    (photographs / "linked").symlink_to(elsewhere)
    (photographs / "day/up").symlink_to(photographs)
    (photographs / "Thumbs.db").touch()
    assert invoke(home, "alone", photographs, tmp_path / "out").lstrip() == (
        f"{tmp_path}/out now has mask, depth and view of 4 pictures.\n"
    )
    for role, ending in (("mask", "png"), ("depth", "npy"), ("view", "png")):
        folder = tmp_path / "out" / role
        found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        assert found == [f"{name}.{ending}" for name in ("b", "day/a", "day/c", "linked/f.v2")]


def test_what_is_left_out_is_named(home: Home, photographs: Path, tmp_path: Path) -> None:
    (photographs / "b.jpg").unlink()
    for name in ("IMG_2.HEIC", "c.webp", "notes.txt"):
        (photographs / name).touch()
    assert invoke(home, "alone", photographs, tmp_path / "out").lstrip() == (
        f"{tmp_path}/out now has mask, depth and view of 1 picture.\n"
        "Left out: IMG_2.HEIC is HEIC, which is not read; convert it to PNG or JPEG; `heif-convert A.heic A.jpg` does "
        "it, and telephones write JPEG where their camera is set so\n"
        "Left out: c.webp is WebP, which is not read; convert it to PNG or JPEG\n"
    )
    for n in range(20):
        (photographs / f"{n:02d}.webp").touch()
    said = invoke(home, "alone", photographs, tmp_path / "again")
    assert said.count("Left out: ") == 11
    assert said.endswith("Left out: 12 more\n")


def test_nothing_that_is_read(home: Home, photographs: Path, tmp_path: Path) -> None:
    (photographs / "c.webp").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"c\.webp: is WebP, which is not read; convert it to PNG or JPEG\.$"):
        invoke(home, "alone", photographs / "c.webp", tmp_path / "out")
    for name in ("a.png", "b.jpg"):
        (photographs / name).unlink()
    with pytest.raises(
        UserError, match=r"there is no picture \(.*\); name a picture or a folder\. What is there: c.webp is W"
    ):
        invoke(home, "alone", photographs, tmp_path / "out")


def test_two_pictures_of_one_name_are_both_named(home: Home, photographs: Path, tmp_path: Path) -> None:
    copies(photographs, "day/b.png", "day/b.JPEG")
    with pytest.raises(UserError, match=r"day/b.png and .*day/b.JPEG have one name, but each gives one mask"):
        invoke(home, "alone", photographs, tmp_path / "out")


def test_a_name_that_is_not_utf8_works(home: Home, photographs: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(b"a\xff")
    (photographs / "a.png").rename(photographs / f"{odd}.png")
    assert "of 2 pictures" in invoke(home, "alone", photographs, tmp_path / "out")
    assert (tmp_path / "out/mask" / f"{odd}.png").is_file()
    assert (tmp_path / "out/depth" / f"{odd}.npy").is_file()


def test_backgrounds_go_by_folder_and_name(home: Home, photographs: Path, tmp_path: Path) -> None:
    copies(photographs, "day/c.png")
    behind = tmp_path / "behind"
    for name in ("a.png", "b.png"):
        behind.mkdir(exist_ok=True)
        (behind / name).write_bytes((photographs / "a.png").read_bytes())
    with pytest.raises(UserError, match=r"behind: has no picture called day/c, the background of the picture of that"):
        invoke(home, "both", photographs, tmp_path / "out", "--backgrounds", behind)
