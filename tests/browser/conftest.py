"""A real study in real servers, and a real browser to look at them."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml
from helpers.serving import wait_until
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from dmx.tracking import Home
from dmx.tracking.mlflow_client import connect

TRIALS = 40


@dataclass(frozen=True)
class Shown:
    """A home whose stores are served."""

    home: Home
    mlflow: str
    tensorboard: str

    def run_ids(self, role: str) -> dict[str, str]:
        """MLflow's names of the runs of one role, by ours."""
        groups = [group.experiment_id for group in connect(self.home).search_experiments()]
        found = connect(self.home).search_runs(groups, f"tags.`dmx.role` = '{role}'", max_results=100)
        return {run.data.tags["dmx.run"]: run.info.run_id for run in found}

    @property
    def experiment(self) -> str:
        """MLflow's number of the study."""
        return str(connect(self.home).get_experiment_by_name("browsed").experiment_id)


def dmx(*words: object) -> str:
    done = subprocess.run([sys.executable, "-m", "dmx", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=2):
            return True
    except OSError:
        return False


def look_at(page: Page, address: str) -> None:
    """Go to a page of MLflow and close the panel of its assistant, which covers a third of it."""
    page.goto(address)
    with suppress(PlaywrightTimeout):
        page.get_by_role("button", name="Close", exact=True).first.click(timeout=6000)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """40 trials on made rooms, a champion, its evaluation."""
    folder = tmp_path_factory.mktemp("browsed")
    home = Home(folder / "mlruns")
    dmx("data", "synth", folder / "rooms", "--count", 160, "--size", 64)
    data: dict[str, Any] = {
        "name": "browsed",
        "experiment": {
            "name": "browsed",
            "data": {"root": str(folder / "rooms"), "split": {"val": 0.2, "test": 0.2}},
            "model": {"name": "depthmasknet", "width": 8},
            "loss": {"mask": "bce_dice", "depth": "silog"},
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "stages": [{"epochs": 4, "size": 64, "batch_size": 16}],
            "training": {"log_every": 2},
        },
        "search": {
            "model.depthmasknet.width": [4, 8, 12],
            "loss.mask": ["bce_dice", "focal", "lovasz"],
            "loss.depth": ["silog", "l1", "berhu"],
            "optimizer": ["adamw", "sgd"],
            "optimizer.adamw.lr": {"low": 1e-4, "high": 1e-2, "log": True},
            "stages.0.batch_size": [8, 16],
        },
        "trials": TRIALS,
        "train_best": {"seeds": [0, 1]},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(data))
    dmx("sweep", folder / "study.yaml", "--home", home.root, "--workers", 2)
    dmx("train-best", "browsed", "--home", home.root)
    return home


@pytest.fixture(scope="session")
def shown(study: Home) -> Iterator[Shown]:
    """The study's stores, as `dmx ui` serves them."""
    port = free_port()
    command = [sys.executable, "-m", "dmx", "ui", "browsed", "--port", str(port), "--home", str(study.root)]
    serving = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    addresses = [f"http://127.0.0.1:{port + i}" for i in range(2)]
    try:
        wait_until(lambda: all(answers(address) for address in addresses))
        yield Shown(study, *addresses)
    finally:
        serving.terminate()
        serving.wait()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; without one these tests fail, for they are asked for by name."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "no Chromium: `apt-get install chromium`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page as wide as a desk's."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    yield page
    page.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: DMX_SCREENSHOTS, or nowhere that lasts."""
    folder = Path(os.environ.get("DMX_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
