"""What a researcher looks at, in a browser: MLflow's pages and TensorBoard of a study of 40 trials, and our own pages.

`DMX_SCREENSHOTS=docs/screens make test-browser` takes the pictures of docs/compare.md anew.
"""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Shown

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]


def test_the_run_table_shows_what_matters(shown: Shown, page: Page, pictures: Path) -> None:
    page.goto(f"{shown.mlflow}/#/experiments/{shown.experiment}/runs")
    expect(page.get_by_text("browsed-0000").first).to_be_visible()
    page.wait_for_timeout(3000)
    page.screenshot(path=pictures / "mlflow_runs.png")


def test_the_charts_show_every_trial(shown: Shown, page: Page, pictures: Path) -> None:
    page.goto(f"{shown.mlflow}/#/experiments/{shown.experiment}/runs?compareRunsMode=CHART")
    page.wait_for_timeout(8000)
    page.screenshot(path=pictures / "mlflow_charts.png")


def test_six_runs_side_by_side(shown: Shown, page: Page, pictures: Path) -> None:
    six = list(shown.run_ids("trial").values())[:6]
    runs, experiments = quote(json.dumps(six)), quote(json.dumps([shown.experiment]))
    page.goto(f"{shown.mlflow}/#/compare-runs?runs={runs}&experiments={experiments}")
    page.wait_for_timeout(8000)
    page.screenshot(path=pictures / "mlflow_compare.png")


def test_a_picture_by_step(shown: Shown, page: Page, pictures: Path) -> None:
    run = next(iter(shown.run_ids("best").values()))
    page.goto(f"{shown.mlflow}/#/experiments/{shown.experiment}/runs/{run}/model-metrics")
    page.wait_for_timeout(8000)
    page.screenshot(path=pictures / "mlflow_run.png")
    page.goto(f"{shown.mlflow}/#/experiments/{shown.experiment}/runs/{run}/artifacts")
    page.wait_for_timeout(5000)
    page.screenshot(path=pictures / "mlflow_artifacts.png")


def test_the_champion_leads_back_to_its_study(shown: Shown, page: Page, pictures: Path) -> None:
    page.goto(f"{shown.mlflow}/#/models/browsed")
    page.wait_for_timeout(5000)
    page.screenshot(path=pictures / "mlflow_model.png")


def test_tensorboard_has_hyperparameters(shown: Shown, page: Page, pictures: Path) -> None:
    page.goto(f"{shown.tensorboard}/#hparams")
    page.wait_for_timeout(8000)
    page.screenshot(path=pictures / "tensorboard_hparams.png")
