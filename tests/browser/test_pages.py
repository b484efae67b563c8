"""What a researcher looks at, in a browser: MLflow's pages and TensorBoard of a study of 40 trials, and our own pages.

`DMX_SCREENSHOTS=docs/screens make test-browser` takes the pictures of docs/compare.md anew.
"""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from dmx.tracking.mlflow_forms import KEY, NAME
from tests.browser.conftest import TRIALS, Shown, dmx, look_at

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]
OBJECTIVE = "val/depth/rmse_pooled"
DESK = 1440
AT_BEST = "val_best/depth/rmse_pooled"


@pytest.fixture(scope="module")
def ranked(shown: Shown) -> list[dict[str, object]]:
    """The trials of the leaderboard, without the references beneath them."""
    rows: list[dict[str, object]] = json.loads(dmx("leaderboard", "browsed", "--json", "--home", shown.home.root))
    found = [row for row in rows if row["outcome"] != "reference"]
    assert len(found) == TRIALS
    return found


def test_the_run_table_ranks_the_trials(
    shown: Shown, page: Page, pictures: Path, ranked: list[dict[str, object]]
) -> None:
    look_at(page, f"{shown.mlflow}/#/experiments/{shown.experiment}/runs")
    expect(page.get_by_text("browsed-0039", exact=True)).to_be_visible()
    page.get_by_role("button", name="Views").click()
    page.get_by_text(NAME, exact=True).click()
    expect(page.get_by_text(f"{TRIALS} matching runs")).to_be_visible()
    page.set_viewport_size({"width": 2400, "height": 900})  # columns that are not to be seen are not there
    for column in (AT_BEST, "val_best/mask/iou_pooled", "model.width", "loss.mask", "optimizer.lr", "dmx.outcome"):
        expect(page.get_by_role("columnheader", name=column).first).to_be_visible()
    for place in range(3):
        row = page.locator(f".ag-row[row-index='{place}']")
        expect(row.get_by_text(str(ranked[place]["run"]))).to_be_visible()
        expect(row.get_by_text(str(ranked[place][OBJECTIVE]))).to_be_visible()
    page.set_viewport_size({"width": DESK, "height": 900})
    page.screenshot(path=pictures / "mlflow_runs.png")


def test_pruned_trials_are_no_failures(
    shown: Shown, page: Page, ranked: list[dict[str, object]], pictures: Path
) -> None:
    pruned = [str(one["run"]) for one in ranked if one["outcome"] == "pruned"]
    assert pruned
    only = quote("tags.`dmx.outcome` = 'pruned'")
    look_at(page, f"{shown.mlflow}/#/experiments/{shown.experiment}/runs?searchFilter={only}")
    expect(page.get_by_text(f"{len(pruned)} matching runs")).to_be_visible()
    failed = quote("attributes.status = 'FAILED' and tags.`dmx.outcome` = 'pruned'")
    look_at(page, f"{shown.mlflow}/#/experiments/{shown.experiment}/runs?searchFilter={failed}")
    expect(page.get_by_text("0 matching runs")).to_be_visible()


def test_the_charts_show_every_trial(shown: Shown, page: Page, pictures: Path, ranked: list[dict[str, object]]) -> None:
    address = f"{shown.mlflow}/#/experiments/{shown.experiment}/runs?viewStateShareKey={KEY}&compareRunsMode=CHART"
    look_at(page, address)
    plots = page.locator(".js-plotly-plot")
    with_values = sum(one[OBJECTIVE] is not None for one in ranked if OBJECTIVE in one)
    assert with_values > TRIALS / 2
    for place, metric in enumerate((OBJECTIVE, "val/mask/iou_pooled")):
        expect(page.get_by_text(metric, exact=True).first).to_be_visible()
        expect(plots.nth(place).locator(".scatterlayer .trace").nth(with_values - 1)).to_be_attached()
    expect(page.get_by_text("Parallel Coordinates")).to_be_visible()
    for axis in ("model.width", "loss.mask", "loss.depth", "optimizer", "optimizer.lr", "stages"):
        expect(page.locator("svg text").get_by_text(axis, exact=True).first).to_be_attached()
    page.screenshot(path=pictures / "mlflow_charts.png")


def test_six_runs_side_by_side(shown: Shown, page: Page, pictures: Path, ranked: list[dict[str, object]]) -> None:
    ids = shown.run_ids("trial")
    six = [str(one["run"]) for one in ranked[:6]]
    runs, experiments = quote(json.dumps([ids[run] for run in six])), quote(json.dumps([shown.experiment]))
    look_at(page, f"{shown.mlflow}/#/compare-runs?runs={runs}&experiments={experiments}")
    expect(page.get_by_text("Comparing 6 Runs from 1 Experiment")).to_be_visible()
    page.get_by_role("button", name="Clear All").click()
    axes = ("loss.mask", "loss.depth", "optimizer.lr"), (AT_BEST,)
    for place, names in enumerate(axes):
        page.get_by_role("combobox").nth(place).click()
        for name in names:
            page.keyboard.type(name)
            page.wait_for_timeout(1000)  # the list follows the typing
            page.keyboard.press("Enter")
        page.keyboard.press("Escape")
    for name in (*axes[0], *axes[1]):
        expect(page.locator(".js-plotly-plot text").get_by_text(name, exact=True)).to_be_visible()
    for run in six:
        expect(page.get_by_text(run, exact=True).first).to_be_attached()
    page.screenshot(path=pictures / "mlflow_compare.png")


def test_a_picture_by_step(shown: Shown, page: Page, pictures: Path) -> None:
    run = next(iter(shown.run_ids("best").values()))
    look_at(page, f"{shown.mlflow}/#/experiments/{shown.experiment}/runs/{run}/model-metrics")
    page.get_by_placeholder("Search metric charts").fill("^val$")
    page.get_by_role("slider").focus()
    shown_at = set()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        picture = page.locator("main img[src*='images']").last
        expect(picture).to_be_attached()
        page.wait_for_function(
            "picture => picture.complete && picture.naturalWidth > 100", arg=picture.element_handle()
        )
        shown_at.add(picture.get_attribute("src"))
    assert len(shown_at) == 2
    picture.scroll_into_view_if_needed()
    page.screenshot(path=pictures / "mlflow_picture.png")


def test_the_champion_leads_back_to_its_trial(shown: Shown, page: Page, pictures: Path) -> None:
    look_at(page, f"{shown.mlflow}/#/models/browsed")
    for text in ("@ champion", "dmx.study", "dmx.trial_run", "dmx.run"):
        expect(page.get_by_text(text).first).to_be_visible()
    page.screenshot(path=pictures / "mlflow_model.png")
    page.get_by_role("link", name="Version 1").click()
    expect(page.get_by_text("Source run").or_(page.get_by_text("Source Run")).first).to_be_visible()


def test_tensorboard_has_the_hyperparameters_of_every_trial(shown: Shown, page: Page, pictures: Path) -> None:
    page.goto(f"{shown.tensorboard}/#hparams")
    for column in ("loss.depth", "loss.mask", "optimizer"):
        expect(page.get_by_text(column, exact=True).first).to_be_visible()
    page.screenshot(path=pictures / "tensorboard_hparams.png")
    page.set_viewport_size({"width": 1440, "height": 3000})  # what is not to be seen is not there
    page.reload()
    for number in range(TRIALS):
        expect(page.get_by_text(f"browsed-{number:04d}", exact=True).first).to_be_attached()
    assert not page.get_by_text("browsed (study)", exact=True).count()


@pytest.mark.parametrize("width", [390, DESK])
def test_our_own_pages_fit_phone_and_desk(
    shown: Shown, page: Page, pictures: Path, ranked: list[dict[str, object]], width: int, tmp_path: Path
) -> None:
    six = [str(one["run"]) for one in ranked[:3]]
    dmx("compare", *six, "--html", tmp_path / "compare.html", "--home", shown.home.root)
    (evaluation,) = shown.home.root.glob("runs/browsed-best-s*/evaluations/test/evaluation.html")
    pages = {
        "compare": (tmp_path / "compare.html", "Where they differ most"),
        "report": (shown.home.study("browsed") / "report.html", "What won"),
        "evaluation": (evaluation, "The worst samples"),
    }
    page.set_viewport_size({"width": width, "height": 900})
    for name, (path, title) in pages.items():
        page.goto(path.as_uri())
        expect(page.get_by_role("heading", name=title)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        broken = "[...document.images].filter(image => !image.complete || image.naturalWidth === 0).length"
        assert page.evaluate("document.images.length") > 0
        assert page.evaluate(broken) == 0
        page.screenshot(path=(pictures if width == DESK else tmp_path) / f"{name}.png")
