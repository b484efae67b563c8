"""The server of the demo, as a process of its own: what it gives, and what it refuses."""

import base64
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import cv2
import numpy as np
import OpenEXR
import pytest
from click.testing import CliRunner
from helpers.onnx_files import save_exported
from helpers.serving import wait_until

from dmx.cli import cli
from dmx.cli.demo import named
from dmx.deliver.depth_files import POINT
from dmx.machine import POSIX, end_group

SIZE = (24, 36)


def picture(height: int = 48, width: int = 72) -> np.ndarray:
    """Red rises from left to right, green from top to bottom."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    rgb[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    return rgb


def encoded(rgb: np.ndarray) -> str:
    return base64.b64encode(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()).decode()


@contextmanager
def served(*arguments: str) -> Iterator[str]:
    """The address of `dmx demo` with these arguments; at the end it is interrupted, as by ctrl-C."""
    command = [sys.executable, "-m", "dmx", "demo", *arguments, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
        server.send_signal(signal.SIGINT if POSIX else signal.SIGTERM)
        _, said = server.communicate(timeout=30)
        assert "Traceback" not in said


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("networks")
    alone = save_exported(folder / "alone.onnx", SIZE)
    both = save_exported(folder / "both.onnx", SIZE, background=True)
    relative = {"kind": "relative", "low": 0.0, "high": 1.0, "near": "high"}
    third = save_exported(folder / "relative.onnx", SIZE, depth=relative, unit="")
    cv2.imwrite(str(folder / "first.png"), picture()[..., ::-1])
    with served(str(alone), str(both), str(third), "--image", str(folder / "first.png")) as found:
        yield found


def post(url: str, body: Any, headers: dict[str, str] | None = None) -> bytes:
    given = {"Content-Type": "application/json", **(headers or {})}
    with urlopen(Request(url, json.dumps(body).encode(), given), timeout=30) as answer:
        return bytes(answer.read())


def refused(url: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, str]:
    with pytest.raises(HTTPError) as error:
        post(url, body, headers)
    return error.value.code, error.value.read().decode()


def test_the_page_and_the_networks(address: str) -> None:
    with urlopen(f"{address}/", timeout=30) as page:
        assert b"<title>dmx demo</title>" in page.read()
    with urlopen(f"{address}/networks", timeout=30) as found:
        networks = json.load(found)
    assert [one["name"] for one in networks] == ["alone", "both", "relative"]
    assert networks[1]["inputs"] == ["image", "background"]
    with urlopen(f"{address}/example/image", timeout=30) as example:
        assert np.array_equal(cv2.imdecode(np.frombuffer(example.read(), np.uint8), 1)[..., ::-1], picture())
    with urlopen(f"{address}/example/background", timeout=30) as example:
        assert example.status == 204


def test_maps_are_those_of_the_photograph(address: str) -> None:
    found = json.loads(post(f"{address}/predict?network=alone", {"image": encoded(picture())}))
    depth = np.frombuffer(base64.b64decode(found["depth"]), "<f4").reshape(found["height"], found["width"])
    mask = np.frombuffer(base64.b64decode(found["mask"]), np.uint8).reshape(depth.shape)
    assert depth.shape == (48, 72)
    assert np.abs(depth - (1 + 4 * (picture()[..., 0] / 255))).max() < 0.1
    assert np.abs(mask.astype(int) - picture()[..., 1]).max() < 8


def test_large_photographs_are_shown_smaller_and_written_whole(address: str) -> None:
    body = {"image": encoded(picture(300, 2048))}
    found = json.loads(post(f"{address}/predict?network=alone", body))
    assert (found["height"], found["width"]) == (150, 1024)
    assert np.load(io.BytesIO(post(f"{address}/file/npy?network=alone", body))).shape == (300, 2048)


def test_files_are_read_back(address: str, tmp_path: Path) -> None:
    def file(form: str, **settings: float) -> bytes:
        query = "".join(f"&{key}={value}" for key, value in settings.items())
        return post(f"{address}/file/{form}?network=alone{query}", {"image": encoded(picture())})

    depth = np.load(io.BytesIO(file("npy")))
    whole = cv2.imdecode(np.frombuffer(file("png16"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(whole, (1000 * depth).round().astype(np.uint16))
    (tmp_path / "depth.exr").write_bytes(file("exr"))
    with OpenEXR.File(str(tmp_path / "depth.exr")) as exr:
        assert np.array_equal(exr.channels()["Z"].pixels, depth)
    points = np.frombuffer(file("ply", fov=60).partition(b"end_header\n")[2], POINT)
    assert np.array_equal(points["z"], depth.ravel())
    assert np.array_equal(points["red"], picture()[..., 0].ravel())
    mask = cv2.imdecode(np.frombuffer(file("mask"), np.uint8), cv2.IMREAD_UNCHANGED)
    cutout = cv2.imdecode(np.frombuffer(file("cutout", threshold=0.25), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(cutout[..., 2::-1], picture())
    assert np.array_equal(cutout[..., 3] > 0, mask >= 0.25 * 255)
    assert 0.6 < (cutout[..., 3] > 0).mean() < 0.9


def test_what_is_wrong_is_said(address: str) -> None:
    good, url = encoded(picture()), f"{address}/predict?network="
    code, said = refused(f"{url}nobody", {"image": good})
    assert (code, "there is no network 'nobody' here, but alone, both" in said) == (404, True)
    code, said = refused(f"{url}both", {"image": good})
    assert (code, "give it as the background" in said) == (422, True)
    for bad in ("no base64!", base64.b64encode(b"no picture at all").decode()):
        code, said = refused(f"{url}alone", {"image": bad})
        assert code == 422
        assert "/tmp" not in said
    assert "the photograph" in said
    code, said = refused(f"{address}/file/ply?network=relative", {"image": good})
    assert (code, "needs depth in metres" in said) == (422, True)
    for setting in ("fov=0", "fov=180", "fov=nan", "threshold=-0.1", "threshold=1.1", "threshold=nan"):
        assert refused(f"{address}/file/ply?network=alone&{setting}", {"image": good})[0] == 422, setting
    assert refused(f"{url}alone", {"image": good}, {"Host": "elsewhere.example"})[0] == 400


def test_the_server_imports_no_torch() -> None:
    code = "import dmx.deliver.demo.server, dmx.cli.demo, sys; print({'torch', 'mlflow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_bad_arguments_are_refused(tmp_path: Path, address: str) -> None:
    home = ["--home", str(tmp_path)]
    found = CliRunner().invoke(cli, ["demo", str(tmp_path / "none.onnx"), *home], standalone_mode=False)
    assert "none.onnx" in str(found.exception)
    found = CliRunner().invoke(cli, ["demo", "nobody", *home], standalone_mode=False)
    assert "there is no run 'nobody'" in str(found.exception)
    said = " ".join(CliRunner().invoke(cli, ["demo", "--help"]).output.split())
    assert "RUN is a run's name; it is exported first. FILE.onnx is a file of `dmx export`." in said
    assert "NETWORKS" not in said
    taken = address.rpartition(":")[2]
    file = save_exported(tmp_path / "a.onnx", SIZE)
    found = CliRunner().invoke(cli, ["demo", str(file), "--port", taken, "--no-browser"], standalone_mode=False)
    assert f"port {taken} of 127.0.0.1 is taken by another program; leave out --port" in str(found.exception)


def test_a_browser_in_the_terminal_is_answered_while_it_is_open(tmp_path: Path) -> None:
    file = save_exported(tmp_path / "a.onnx", SIZE)
    script = tmp_path / "browser.py"
    script.write_text(
        "import sys, time, pathlib, urllib.request\n"
        "page = urllib.request.urlopen(sys.argv[1], timeout=60).read()\n"
        f"pathlib.Path({str(tmp_path / 'seen')!r}).write_bytes(page)\n"
        "time.sleep(3600)\n"
    )
    environment = {**os.environ, "BROWSER": shlex.join([sys.executable, str(script), "%s"])}
    command = [sys.executable, "-m", "dmx", "demo", str(file)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True) as server:
        try:
            wait_until(lambda: (tmp_path / "seen").is_file(), 60)
        finally:
            end_group(server.pid)
    assert b"<title>dmx demo</title>" in (tmp_path / "seen").read_bytes()


def test_files_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert named(["x/rooms.onnx", "run"]) == {"rooms": "x/rooms.onnx", "run": "run"}
    assert named(["a/model.onnx", "b/model.ONNX"]) == {"a": "a/model.onnx", "b": "b/model.ONNX"}
    assert named(["a/x/m.onnx", "b/x/m.onnx"]) == {"a/x/m.onnx": "a/x/m.onnx", "b/x/m.onnx": "b/x/m.onnx"}
    assert named(["m", "a/m.onnx"]) == {"m": "m", "a": "a/m.onnx"}
    assert named(["a", "a/m.onnx", "b/m.onnx"]) == {"a": "a", "a/m.onnx": "a/m.onnx", "b": "b/m.onnx"}
