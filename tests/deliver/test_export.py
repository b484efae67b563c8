"""Exported files: what they predict, what they say of themselves, and what is refused."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from helpers.isolating import isolated, packages_alone
from helpers.onnx_files import save
from PIL import Image

from dmx.cli import cli
from dmx.config import parse_experiment
from dmx.data.layout import read
from dmx.deliver.bundle.card import card
from dmx.deliver.bundle.story import story_of
from dmx.deliver.export.compare import relative
from dmx.deliver.export.graph import PhotographToMaps
from dmx.deliver.export.int8 import last_nodes
from dmx.deliver.export.samples import spread
from dmx.deliver.export.write import mask_threshold, on_cpu
from dmx.deliver.exported import ExportedNetwork
from dmx.deliver.predictor import Predictor
from dmx.errors import DataError, UserError
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.trained import trained
from dmx.tracking import Home

PROGRAM = Path(__file__).parents[2] / "docs" / "deliver.md"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Home:
    """A run of a network that takes the image alone, and one that takes the difference from the background."""
    home = Home(tmp_path_factory.mktemp("home"))
    for name, inputs in {"alone": "image", "both": "image+difference"}.items():
        config = {
            "name": name,
            "data": {"root": str(tiny_data), "split": {"val": 0.25, "test": 0.25}},
            "model": {"name": "depthmasknet", "width": 4, "inputs": inputs},
            "loss": {"mask": "bce_dice", "depth": "l1"},
            "optimizer": {"name": "adamw", "lr": 1e-3},
            "stages": [{"epochs": 1, "size": [32, 48], "batch_size": 8}],
        }
        run(prepare(parse_experiment(config, name), home), home, name, Tracking("tests", {}, stores=False))
    return home


def invoke(home: Home, *arguments: object, code: int = 0) -> str:
    given = [*map(str, arguments), "--home", str(home.root)]
    found = CliRunner().invoke(cli, given, standalone_mode=False)
    if isinstance(found.exception, UserError):
        raise found.exception
    assert found.exit_code == code, found.output
    return found.output


@pytest.fixture(scope="module")
def exported(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both runs as ONNX files; the second takes any size."""
    out = tmp_path_factory.mktemp("out")
    said = invoke(home, "export", "alone", out / "alone.onnx")
    assert "ONNX, opset 20, float32, pictures of 32x48" in said
    assert "8 validation pictures of 'synth" in said
    assert "pictures of any multiples of 16" in invoke(home, "export", "both", out / "b.onnx", "--size", "dynamic")
    return {"alone": out / "alone.onnx", "both": out / "b.onnx"}


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 255, (5, 7, 3), dtype=np.uint8), (width, height)) for _ in range(count)]


@pytest.mark.parametrize("name", ["alone", "both"])
def test_a_file_predicts_as_the_run_does_in_batches_of_any_size(
    home: Home, exported: dict[str, Path], name: str
) -> None:
    network, images = ExportedNetwork(exported[name]), pictures(3, 50, 71)
    behind = pictures(3, 50, 71)[::-1] if name == "both" else None
    expected = Predictor(trained(home, name).model, (32, 48))(images, behind)
    for (mask, depth), (own_mask, own_depth) in zip(network(images, behind), expected, strict=True):
        assert mask.shape == depth.shape == (50, 71)
        assert relative(mask, own_mask).max() < 1e-5
        assert relative(depth, own_depth).max() < 1e-4


def test_a_dynamic_file_takes_other_sizes_whose_sides_are_multiples(home: Home, exported: dict[str, Path]) -> None:
    network, images, behind = ExportedNetwork(exported["both"]), pictures(2, 64, 112), pictures(2, 64, 112)[::-1]
    network.size = (64, 112)
    expected = Predictor(trained(home, "both").model, (64, 112))(images, behind)
    for found, own in zip(network(images, behind), expected, strict=True):
        assert max(relative(*pair).max() for pair in zip(found, own, strict=True)) < 1e-4


def test_a_fixed_size_that_the_network_does_not_take_is_padded_as_in_the_run(home: Home, tmp_path: Path) -> None:
    invoke(home, "export", "alone", tmp_path / "odd.onnx", "--size", "37x51")
    [(mask, depth)] = ExportedNetwork(tmp_path / "odd.onnx")(pictures(1, 40, 60), None)
    [own] = Predictor(trained(home, "alone").model, (37, 51))(pictures(1, 40, 60), None)
    assert relative(mask, own[0]).max() < 1e-5
    assert relative(depth, own[1]).max() < 1e-4


def test_a_file_says_what_it_is(home: Home, exported: dict[str, Path], tiny_data: Path) -> None:
    facts, spec = ExportedNetwork(exported["both"]).facts, read(tiny_data).depth
    assert (facts.run, facts.size, facts.dynamic, facts.multiple) == ("both", (32, 48), True, 16)
    assert facts.inputs == ("image", "background")
    assert (facts.depth, facts.unit) == ({"kind": "metric", "low": spec.low, "high": spec.high, "near": "low"}, "m")
    assert facts.difference["depth"]["greatest"] < 1e-3
    assert facts.difference["pictures"] == 8
    model = onnx.load(str(exported["both"]))
    assert {one.domain: one.version for one in model.opset_import}[""] == facts.opset == 20
    assert {one.name: one.type.tensor_type.elem_type for one in model.graph.input} == {"image": 2, "background": 2}


def test_its_evaluation_is_the_runs(home: Home, exported: dict[str, Path], tiny_data: Path) -> None:
    own, file = (
        json.loads(invoke(home, "evaluate", name, tiny_data, *like, "--part", "val", "--json"))["values"]
        for name, like in (("alone", ()), (exported["alone"], ("--like", "alone")))
    )
    shared = {name for name, value in file.items() if value is not None and own.get(name) is not None}
    assert {"depth/rmse_pooled", "mask/iou_pooled", "depth/delta1_per_image"} <= shared
    assert {name: file[name] for name in shared} == pytest.approx({name: own[name] for name in shared}, abs=1e-4)


def test_a_file_of_any_size_is_evaluated_at_the_size_of_its_run(
    home: Home, exported: dict[str, Path], tiny_data: Path
) -> None:
    """Neither --like nor --size is given: the file says which run and size it is of."""
    own, file = (
        json.loads(invoke(home, "evaluate", name, tiny_data, "--part", "val", "--json"))
        for name in ("both", exported["both"])
    )
    assert file["size"] == [32, 48]
    assert file["ids"] == own["ids"]
    for name in ("depth/rmse_pooled", "mask/iou_pooled", "depth/delta1_per_image"):
        assert file["values"][name] == pytest.approx(own["values"][name], abs=1e-4)


def test_the_threshold_of_a_file_is_the_runs_own(home: Home, tiny_data: Path, tmp_path: Path) -> None:
    """Not that of the run with mirrored pictures, whose evaluation comes first by name."""
    copy = Home(tmp_path / "home")
    shutil.copytree(home.run("alone"), copy.run("alone"))
    for where, best, joined in (("a-flip", 0.9, " and mirrored pictures"), ("val", 0.25, "")):
        folder = copy.run("alone") / "evaluations" / where
        folder.mkdir(parents=True, exist_ok=True)
        found = {"threshold": {"best_on_validation": best}, "joined": joined}
        (folder / "evaluation.json").write_text(json.dumps(found))
    assert mask_threshold(copy, "alone") == 0.25


def test_int8_is_calibrated_on_pictures_from_the_whole_training_part() -> None:
    """Of 399 pictures 200 are taken: the first, the last, and every second between them."""
    taken = [int(one) for one in spread([*map(str, range(399))], 200)]
    assert taken == [*range(0, 399, 2)]
    assert spread("abc", 200) == ("a", "b", "c")


def test_an_archive_of_torch_gives_the_same(home: Home, tmp_path: Path) -> None:
    assert "torch.export, float32" in invoke(home, "export", "alone", tmp_path / "a.pt2")
    archive = torch.export.load(tmp_path / "a.pt2")
    image = torch.randint(0, 256, (4, 32, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = PhotographToMaps(on_cpu(trained(home, "alone").model), dynamic=False)(image)
        found = archive.module()(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_lower_precisions_are_smaller_and_say_what_they_cost(
    home: Home, exported: dict[str, Path], tmp_path: Path
) -> None:
    whole = exported["alone"].stat().st_size
    invoke(home, "export", "alone", tmp_path / "half.onnx", "--precision", "float16")
    said = invoke(home, "export", "alone", tmp_path / "int8.onnx", "--precision", "int8")
    half, eighth = (ExportedNetwork(tmp_path / name).facts for name in ("half.onnx", "int8.onnx"))
    assert 1e-6 < half.difference["depth"]["greatest"] < 2e-2
    assert (tmp_path / "half.onnx").stat().st_size < 0.8 * whole
    measured = eighth.difference
    assert measured["int8"] != measured["float32"]
    assert f"depth/rmse_pooled: {measured['float32']['depth/rmse_pooled']:.4g} in float32" in said
    graph = onnx.load(str(tmp_path / "int8.onnx")).graph
    nodes = {node.name: node for node in graph.node}
    assert "DequantizeLinear" not in {nodes[name].op_type for name in last_nodes(graph)}
    zeros = {one.name: one.data_type for one in graph.initializer}
    quantised = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {zeros[node.input[2]] for node in quantised} == {onnx.TensorProto.UINT8}
    files = tmp_path / "int8.onnx", exported["alone"]
    found, own = (ExportedNetwork(path)(pictures(4, 32, 48), None) for path in files)
    assert max(relative(one[1], other[1]).mean() for one, other in zip(found, own, strict=True)) < 0.02


def test_the_last_nodes_before_the_outputs_are_found() -> None:
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="first"),
        node("Relu", ["a"], ["b"], name="between"),
        node("Conv", ["b", "w"], ["c"], name="depth"),
        node("Exp", ["c"], ["d"], name="link"),
        node("Conv", ["b", "w"], ["e"], name="mask"),
        node("Sigmoid", ["e"], ["m"], name="probability"),
    ]
    outputs = [onnx.helper.make_tensor_value_info(name, 1, None) for name in ("d", "m")]
    graph = onnx.helper.make_graph(nodes, "graph", [], outputs)
    assert sorted(last_nodes(graph)) == ["depth", "link", "mask", "probability"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("both", "{out}/a.onnx", "--size", "dynamic", "--precision", "int8", "--format", "pt2"), "ends in .pt2"),
        (("alone", "{out}/a.txt"), "ends in .onnx or .pt2"),
        (("alone", "{out}/a.onnx", "--size", "3"), "8 to 4096"),
    ],
)
def test_bad_arguments_are_refused(home: Home, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    given = [one.format(out=tmp_path) for one in arguments]
    found = CliRunner().invoke(cli, ["export", *given, "--home", str(home.root)])
    assert found.exit_code == 2
    assert says in found.output
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_refused_and_nothing_is_left(home: Home, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run 'nobody'"):
        invoke(home, "export", "nobody", tmp_path / "a.onnx")
    with pytest.raises(UserError, match="float16 is for ONNX"):
        invoke(home, "export", "alone", tmp_path / "a.pt2", "--precision", "float16")
    (tmp_path / "there.onnx").write_text("mine")
    with pytest.raises(UserError, match="is there already"):
        invoke(home, "export", "alone", tmp_path / "there.onnx")
    assert (tmp_path / "there.onnx").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]
    other = save(tmp_path / "other.onnx")
    with pytest.raises(DataError, match="was not written by `dmx export`"):
        ExportedNetwork(other)


def test_a_file_that_differs_from_the_run_is_refused(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmx.deliver.export.write.TOLERANCE", {"float32": 1e-12})
    with pytest.raises(UserError, match=r"differs from the run by .* on 8 validation pictures.*nothing was exported"):
        invoke(home, "export", "alone", tmp_path / "new" / "a.onnx")
    assert not list((tmp_path / "new").iterdir())


def test_without_the_data_random_pictures_are_compared_and_int8_is_refused(
    home: Home, tmp_path: Path, tiny_data: Path
) -> None:
    moved = tiny_data.rename(tiny_data.with_name("away"))
    try:
        assert "on 8 random pictures" in invoke(home, "export", "alone", tmp_path / "a.onnx")
        with pytest.raises(UserError, match=str(tiny_data)):
            invoke(home, "export", "alone", tmp_path / "b.onnx", "--precision", "int8")
        assert not (tmp_path / "b.onnx").exists()
    finally:
        moved.rename(tiny_data)


def test_a_program_without_dmx_and_torch_predicts(home: Home, exported: dict[str, Path], tmp_path: Path) -> None:
    """The program of docs/deliver.md, where nothing can be imported but the three packages that it names."""
    lines = PROGRAM.read_text().split("```python\n")[1].split("```")[0]
    assert lines.count("\n") <= 20
    packages_alone(tmp_path / "lib", "numpy", "onnxruntime", "pillow")
    (tmp_path / "program.py").write_text(lines)
    cv2.imwrite(str(tmp_path / "photograph.png"), pictures(1, 50, 71)[0])
    (tmp_path / "network.onnx").write_bytes(b"an old one in the folder of the photograph")

    seen = "import importlib.util as u; print([n for n in ('torch', 'dmx', 'cv2', 'numpy') if u.find_spec(n)])"
    assert isolated(tmp_path / "lib", tmp_path, "-c", seen) == "['numpy']\n"
    assert "the object takes" in isolated(tmp_path / "lib", tmp_path, "program.py", str(exported["alone"]))
    depth, mask = np.load(tmp_path / "depth.npy"), cv2.imread(str(tmp_path / "mask.png"), cv2.IMREAD_UNCHANGED)
    network = ExportedNetwork(exported["alone"])
    image = np.asarray(Image.open(tmp_path / "photograph.png").resize((48, 32), Image.Resampling.BOX))
    own_mask, own_depth = (cv2.resize(one, (71, 50)) for one in network([image], None)[0])
    assert depth.shape == mask.shape == (50, 71)  # as the photograph is
    assert np.abs(depth - own_depth).max() < 1e-5
    assert np.abs(mask / 255 - own_mask).max() <= 0.5 / 255 + 1e-6


def test_the_card_of_a_network_without_background_says_which_reference_sees_more(
    home: Home, exported: dict[str, Path]
) -> None:
    named = "reference: background difference"
    needs = f"{named} (needs the background picture)"
    seeing, alone = (story_of(home, trained(home, run)) for run in ("both", "alone"))
    assert f"| {named} | " in card(seeing, ExportedNetwork(exported["both"]).facts)
    text = card(alone, ExportedNetwork(exported["alone"]).facts)
    assert f"| {needs} | " in text
    assert f"| {named} | " not in text
    validation, metric = alone.measured[0], "mask/iou_pooled"
    better = validation.references[needs][metric]
    assert better is not None
    assert better > validation.values[metric]  # after one epoch
    assert validation.not_better.get(metric) not in (named, needs)
    assert named in seeing.measured[0].not_better[metric]
    assert "background" not in next(line for line in text.splitlines() if "NO BETTER than a reference in" in line)
