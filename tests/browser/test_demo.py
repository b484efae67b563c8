"""The page of the demo in a real browser: what is shown, pointed at, turned and downloaded."""

import io
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.onnx_files import save_exported
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser
SIZE = (48, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph in which red rises from left to right; the left half is green."""
    folder = tmp_path_factory.mktemp("demo")
    rgb = np.zeros((96, 128, 3), np.uint8)
    rgb[..., 0] = np.linspace(0, 255, 128).astype(np.uint8)
    rgb[:, :64, 1] = 255
    cv2.imwrite(str(folder / "photograph.png"), rgb[..., ::-1])
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    files = [save_exported(folder / "alone.onnx", SIZE), save_exported(folder / "both.onnx", SIZE, background=True)]
    command = [sys.executable, "-m", "dmx", "demo", *map(str, files), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
        server.send_signal(signal.SIGINT)


@pytest.fixture(params=[1440, 390])
def page(browser: Browser, address: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page with a photograph and its background, at two widths."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    page.set_input_files("#image input[type=file]", folder / "photograph.png")
    expect(page.locator("figure")).to_have_count(1)
    expect(page.locator("#message")).to_have_text("1 more wait for the scene without the object.")
    page.set_input_files("#background input[type=file]", folder / "photograph.png")
    expect(page.locator("figure")).to_have_count(2)
    yield page
    assert wrong == []
    assert page.evaluate("document.documentElement.scrollWidth") <= request.param
    page.close()


def test_the_depth_at_the_pointer_stands_beneath_each_network(page: Page) -> None:
    canvas = page.locator("figure .flat").first
    box = canvas.bounding_box()
    assert box is not None
    for share, depth, mask in ((0.25, 2.0, "100 %"), (0.75, 4.0, "0 %")):
        canvas.hover(position={"x": share * box["width"], "y": box["height"] / 2})
        for readout in page.locator(".readout").all_inner_texts():
            found = re.fullmatch(r"(\d\.\d\d) m, object (\d+ %)", readout)
            assert found is not None
            assert float(found[1]) == pytest.approx(depth, abs=0.1)
            assert found[2] == mask


def test_files_that_are_downloaded_read_back(page: Page) -> None:
    def file(form: str) -> bytes:
        with page.expect_download() as waiting:
            page.locator(f"figure >> nth=0 >> [data-form={form}]").click()
        return Path(waiting.value.path()).read_bytes()

    depth = np.load(io.BytesIO(file("npy")))
    assert depth.shape == (96, 128)
    whole = cv2.imdecode(np.frombuffer(file("png16"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(whole, (1000 * depth).round().astype(np.uint16))
    alpha = cv2.imdecode(np.frombuffer(file("cutout"), np.uint8), cv2.IMREAD_UNCHANGED)[..., 3]
    assert (alpha[:, :60] == 255).all()
    assert (alpha[:, 68:] == 0).all()
    assert file("exr")[:4] == b"\x76\x2f\x31\x01"
    assert b"element vertex 12288\n" in file("ply")[:200]


def test_views_change_what_is_drawn(page: Page) -> None:
    def drawn(kind: str) -> bytes:
        return page.locator(f"figure >> nth=0 >> canvas.{kind}").screenshot()

    depth = drawn("flat")
    page.check("input[value=mask]")
    mask = drawn("flat")
    assert mask != depth
    page.locator("#opacity").fill("0")
    assert drawn("flat") != mask
    page.check("input[value=cloud]")
    cloud = page.locator("figure >> nth=0 >> canvas.cloud")
    expect(cloud).to_be_visible()
    before = drawn("cloud")
    box = cloud.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 120)
    page.mouse.up()
    assert drawn("cloud") != before


def test_a_picture_that_cannot_be_read_is_named(page: Page, folder: Path) -> None:
    (folder / "no.png").write_bytes(b"no picture")
    page.set_input_files("#image input[type=file]", folder / "no.png")
    expect(page.locator("#message")).to_have_class("bad")


def test_an_answer_that_is_no_json_is_told_plainly(page: Page) -> None:
    page.route("**/file/npy*", lambda route: route.fulfill(status=500, body="Internal Server Error"))
    page.locator("figure >> nth=0 >> [data-form=npy]").click()
    expect(page.locator("#message")).to_have_text("The server failed (500); its terminal says why.")


def test_the_cloud_keeps_its_buffers_and_another_angle_moves_the_points_alone(page: Page) -> None:
    page.evaluate("""() => {
      window.calls = { createBuffer: 0, bufferData: 0 };
      for (const name of Object.keys(window.calls)) {
        const own = WebGLRenderingContext.prototype[name];
        WebGLRenderingContext.prototype[name] = function (...given) {
          window.calls[name]++;
          return own.apply(this, given);
        };
      }
    }""")

    def calls() -> dict[str, int]:
        return dict(page.evaluate("window.calls"))

    page.check("input[value=cloud]")
    cloud = page.locator("figure >> nth=0 >> canvas.cloud")
    assert calls() == {"createBuffer": 4, "bufferData": 4}  # two networks, with places and colours each
    before = cloud.screenshot()
    page.locator("#fov").fill("80")
    assert calls() == {"createBuffer": 4, "bufferData": 6}
    wide = cloud.screenshot()
    assert wide != before
    page.locator("#threshold").fill("100")
    assert calls() == {"createBuffer": 4, "bufferData": 8}
    assert cloud.screenshot() != wide
