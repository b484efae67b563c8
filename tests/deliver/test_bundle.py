"""A bundle: whole, honest, runs as its card says; what is refused, and what a hub receives."""

import hashlib
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
import yaml
from click.testing import CliRunner
from helpers.isolating import isolated, packages_alone
from helpers.model_hub import Hub, model_hub
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from dmx.cli import cli
from dmx.config import parse_experiment
from dmx.data.dataset import QuartetDataset
from dmx.data.layout import read
from dmx.deliver.bundle.card import card
from dmx.deliver.bundle.check import check_text, checked
from dmx.deliver.bundle.story import story_of
from dmx.deliver.export.compare import relative
from dmx.deliver.exported import ExportedNetwork
from dmx.deliver.predictor import Predictor
from dmx.errors import DataError, UserError
from dmx.experiment import Tracking, prepare, run
from dmx.experiment.trained import trained
from dmx.results.records import read_result
from dmx.tracking import Home

pytest.importorskip("onnxscript", reason="the extra `depth` is not installed")

FILES = {"README.md", "SHA256SUMS", "config.json", "experiment.yaml", "model.onnx", "model.safetensors"}


def experiment(data: Path, **changes: object) -> dict[str, object]:
    return {
        "name": "both",
        "data": {"root": str(data), "split": {"val": 0.25, "test": 0.25}},
        "model": {"name": "depthmasknet", "width": 4, "inputs": "image+background"},
        "loss": {"mask": "bce_dice", "depth": "l1"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "stages": [{"epochs": 1, "size": [32, 48], "batch_size": 8}],
        **changes,
    }


def invoke(home: Home, *arguments: object) -> str:
    found = CliRunner().invoke(cli, [*map(str, arguments), "--home", str(home.root)], standalone_mode=False)
    if found.exception is not None:
        raise found.exception
    return found.output


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    prepared = prepare(parse_experiment(experiment(tiny_data), "both"), home)
    run(prepared, home, "both", Tracking("tests", {"dmx.role": "run"}, stores=False))
    invoke(home, "evaluate", "both", tiny_data, "--part", "test", "--json")
    return home


@pytest.fixture(scope="module")
def made(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle; tests that change one take a copy."""
    out = tmp_path_factory.mktemp("out") / "rooms"
    said = invoke(home, "export", "both", out, "--bundle")
    assert "complete its licence before you pass it on" in said
    return out


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "rooms"))


def summed_anew(folder: Path) -> None:
    """Write the checksums of a bundle that was changed on purpose."""
    paths = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_it_has_all_files_and_no_path_of_this_machine(made: Path, home: Home, tiny_data: Path) -> None:
    assert {path.name for path in made.iterdir()} == FILES == set(checked(made))
    assert [path.name for path in made.parent.iterdir()] == ["rooms"]
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=made, capture_output=True, check=True)
    for path in made.iterdir():
        assert str(tiny_data.parent).encode() not in path.read_bytes(), path.name
        assert str(home.root).encode() not in path.read_bytes(), path.name
    assert yaml.safe_load((made / "experiment.yaml").read_text())["data"]["root"] == tiny_data.name
    assert json.loads((made / "config.json").read_text())["inputs"] == ["image", "background"]


def test_the_card_has_the_record_in_the_form_of_the_hub(made: Path, home: Home, tiny_data: Path) -> None:
    read_back = ModelCard.load(made / "README.md")
    found = read_result(home.run("both"))
    assert found is not None
    assert found[0].best is not None
    tested = json.loads((home.run("both") / "evaluations/test/evaluation.json").read_text())["values"]
    results = {(one.dataset_split, one.metric_name): one.metric_value for one in read_back.data.eval_results}
    assert read_back.data.pipeline_tag == "depth-estimation"
    for metric in ("depth/rmse_pooled", "mask/iou_pooled", "depth/skill_pooled"):
        assert results["validation", metric] == pytest.approx(found[0].best.metrics[f"val/{metric}"], rel=1e-5)
        assert results["test", metric] == pytest.approx(tested[metric], rel=1e-5)
    text = read_back.content
    rmse = found[0].best.metrics["val/depth/rmse_pooled"]
    assert f"**{rmse:.3g}**" in text
    assert "| reference: mean depth map |" in text
    assert "Test has been read for this network alone." in text
    assert "12 samples in 3 groups" in text
    assert f"`{read(tiny_data).name}`" in text
    assert "licence is given as: CC0-1.0. Training began with random weights" in text
    assert "NO BETTER than a reference in: depth/rmse (" in text  # after one epoch


def test_the_card_of_an_int8_file_claims_what_int8_comes_to(made: Path, home: Home) -> None:
    facts = ExportedNetwork(made / "model.onnx").facts
    measured = {"float32": {"depth/rmse_pooled": 1.0}, "int8": {"depth/rmse_pooled": 9.0}}
    text = card(story_of(home, trained(home, "both")), replace(facts, difference={**facts.difference, **measured}))
    claimed = [(one.dataset_split, one.metric_name, one.metric_value) for one in ModelCard(text).data.eval_results]
    assert claimed == [("validation", "depth/rmse_pooled", 9.0)]
    assert "| depth/rmse | 1 | 9 |" in text
    assert "These are of the run in float32; what int8 costs is told below." in text
    assert "On validation it is NO BETTER than a reference in: depth/rmse (mean depth map)." in text


def test_the_card_of_another_size_claims_nothing_for_the_file(made: Path, home: Home) -> None:
    facts = replace(ExportedNetwork(made / "model.onnx").facts, size=(64, 96))
    text = card(story_of(home, trained(home, "both")), facts)
    assert yaml.safe_load(text.split("---")[1])["model-index"][0]["results"] == []
    assert "These are of the run at 32x48; at the file's size nothing was measured." in text


def test_the_card_of_a_run_that_started_from_another_says_what_both_saw(
    made: Path, home: Home, tiny_data: Path
) -> None:
    config = parse_experiment(experiment(tiny_data, name="second", start="both"), "second")
    run(prepare(config, home), home, "second", Tracking("tests", {"dmx.role": "run"}, stores=False))
    text = card(story_of(home, trained(home, "second")), ExportedNetwork(made / "model.onnx").facts)
    assert f"weights of the run 'both', learnt from '{read(tiny_data).name}', whose licence is given as: CC0" in text
    assert "alone" not in text.split("## Limits")[1].split("##")[0]


def test_its_six_lines_run_where_nothing_but_three_packages_is(
    made: Path, home: Home, tiny_data: Path, tmp_path: Path
) -> None:
    lines = (made / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert lines.count("\n") == 6
    packages_alone(tmp_path / "lib", "numpy", "onnxruntime", "pillow")
    shutil.copy(made / "model.onnx", tmp_path)
    index = read(tiny_data)
    pictures = QuartetDataset(index, [index.samples[0].id], (32, 48), memory=False).original(0)
    assert pictures.background is not None
    given = {"image": pictures.image, "background": pictures.background}
    for name, picture in given.items():
        large = cv2.resize(picture, (96, 64))  # twice as large as the network
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    read_back = [cv2.imread(str(tmp_path / f"{name}.jpg"))[..., ::-1].copy() for name in given]
    (tmp_path / "program.py").write_text(f'{lines}np.savez("maps.npz", depth=depth, mask=mask)\n')
    seen = "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('dmx'))"
    assert isolated(tmp_path / "lib", tmp_path, "-c", seen) == "None None\n"
    isolated(tmp_path / "lib", tmp_path, "program.py")
    [(mask, depth)] = Predictor(trained(home, "both").model, (32, 48))(read_back[:1], read_back[1:])
    with np.load(tmp_path / "maps.npz") as maps:
        assert maps["depth"].shape == maps["mask"].shape == (64, 96)  # as the photograph is
        assert relative(maps["depth"], depth).max() < 0.02  # two decoders of JPEG differ by a grey level
        assert relative(maps["mask"], mask).max() < 0.02


def test_another_run_starts_from_its_weights(made: Path, home: Home, tiny_data: Path, tmp_path: Path) -> None:
    data = experiment(tiny_data, name="further", start=str(made / "model.safetensors"))
    prepared = prepare(parse_experiment(data, "further"), home)
    own = load_file(made / "model.safetensors")
    for name, tensor in prepared.model.net.state_dict().items():
        assert torch.equal(tensor, own[f"net.{name}"]), name


def elsewhere(folder: Path, where: str) -> None:
    """Put a tensor that is in another file somewhere into the network."""
    model = onnx.load(folder / "model.onnx")
    tensor = onnx.TensorProto(dims=[1], data_type=onnx.TensorProto.UINT8, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../../etc/passwd")
    node = onnx.helper.make_node("Constant", [], ["there"], value=tensor)
    match where:
        case "attribute":
            model.graph.node.append(node)
        case "subgraph":
            inner = onnx.helper.make_graph([node], "inner", [], [])
            model.graph.node.append(onnx.helper.make_node("If", ["yes"], ["it"], then_branch=inner, else_branch=inner))
        case "function":
            model.functions.append(onnx.FunctionProto(name="f", domain="d", node=[node]))
        case "sparse":
            model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=tensor))
    (folder / "model.onnx").write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "weights.pkl").write_bytes(pickle.dumps([1])), r"weights\.pkl: a bundle has no such"),
        (lambda folder: torch.save({}, folder / "model.safetensors"), r"model\.safetensors: is not what its name says"),
        (lambda folder: (folder / "model.onnx").write_bytes(pickle.dumps([1] * 50)), r"model\.onnx: .*pickle"),
        (
            lambda folder: (folder / "README.md").write_bytes(pickle.dumps("a")),
            r"README\.md: is not what",
        ),
        (lambda folder: (folder / "config.json").write_bytes(pickle.dumps("a")), r"config\.json: is not what its name"),
        (
            lambda folder: (folder / "experiment.yaml").write_text("!!python/object:os.system {}"),
            r"experiment\.yaml",
        ),
        (lambda folder: (folder / "LICENSE").write_bytes(b"cos\nsystem\n(S'echo hi'\ntR."), r"LICENSE: .*a pickle"),
        (lambda folder: (folder / "LICENSE").write_bytes(b"cos\nsystem\n(S'echo hi'\ntR"), r"LICENSE: .*a pickle"),
        (lambda folder: (folder / "LICENSE").write_bytes(b"(S'echo hi'\nios\nsystem\n."), r"LICENSE: .*a pickle"),
        (lambda folder: (folder / "LICENSE").write_bytes(b"(cos\ngetcwd\no."), r"LICENSE: .*a pickle"),
        (lambda folder: elsewhere(folder, "attribute"), r"model\.onnx: has tensors in other files"),
        (lambda folder: elsewhere(folder, "subgraph"), r"model\.onnx: has tensors in other files"),
        (lambda folder: elsewhere(folder, "function"), r"model\.onnx: has tensors in other files"),
        (lambda folder: elsewhere(folder, "sparse"), r"model\.onnx: has tensors in other files"),
        (lambda folder: (folder / "README.md").unlink(), r"lacks README\.md"),
        (lambda folder: (folder / "more").mkdir(), r"more: a bundle has no such file"),
        (lambda folder: (folder / "LICENSE").symlink_to("/etc/hostname"), r"LICENSE: a bundle has no such file"),
    ],
)
def test_what_is_no_bundle_is_refused_though_its_checksums_are_right(
    copied: Path, change: Callable[[Path], object], says: str
) -> None:
    change(copied)
    files = {path.name for path in copied.iterdir() if path.is_file() and not path.is_symlink()}
    lines = [f"{hashlib.sha256((copied / name).read_bytes()).hexdigest()}  {name}" for name in sorted(files)]
    (copied / "SHA256SUMS").write_text("\n".join(line for line in lines if not line.endswith("SHA256SUMS")) + "\n")
    with pytest.raises(DataError, match=says):
        checked(copied)


def test_a_changed_bundle_is_refused_until_it_is_summed_anew(copied: Path) -> None:
    (copied / "LICENSE").write_text("CC0")
    with pytest.raises(DataError, match=r"LICENSE: is not in SHA256SUMS.*sha256sum LICENSE README\.md"):
        checked(copied)
    summed_anew(copied)
    assert set(checked(copied)) == FILES | {"LICENSE"}
    (copied / "LICENSE").unlink()
    with pytest.raises(DataError, match="names LICENSE, which is not there"):
        checked(copied)
    summed_anew(copied)
    weights = bytearray((copied / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copied / "model.safetensors").write_bytes(weights)
    with pytest.raises(DataError, match=r"model\.safetensors: differs from its checksum"):
        checked(copied)


def push(hub: Hub, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Push in a process of its own: the client reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": hub.address, "HF_TOKEN": "right", "HF_HUB_OFFLINE": "0", **env}
    command = [sys.executable, "-m", "dmx", "push", *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120)


def test_a_hub_receives_the_bundle_byte_for_byte(made: Path) -> None:
    with model_hub() as hub:
        done = push(hub, made, "me/rooms")
    assert done.returncode == 0, done.stderr
    assert f"Sent {made} to me/rooms: {hub.address}/me/rooms/commit/" in done.stdout
    assert hub.files == {"me/rooms": {path.name: path.read_bytes() for path in made.iterdir()}}
    assert [(one["organization"], one["name"], one["visibility"]) for one in hub.created] == [
        ("me", "rooms", "private")
    ]
    assert [one.startswith("---\nlicense: other\n") for one in hub.cards] == [True]


def test_nothing_is_sent_of_what_is_refused_and_the_hubs_refusal_is_explained(copied: Path, made: Path) -> None:
    (copied / "model.onnx").write_bytes(b"")
    with model_hub() as hub:
        refused = push(hub, copied, "me/rooms")
        assert not hub.requests
        stranger = push(hub, made, "me/rooms", HF_TOKEN="wrong")
    with socket.socket() as taken:  # bound, but not listening: nobody answers
        taken.bind(("127.0.0.1", 0))
        away = push(Hub(f"http://127.0.0.1:{taken.getsockname()[1]}"), made, "me/rooms")
    assert (refused.returncode, stranger.returncode, away.returncode) == (2, 2, 1)
    assert "differs from its checksum" in refused.stderr
    assert "log in by `hf auth login`" in stranger.stderr
    assert "cannot be reached" in away.stderr
    assert "Traceback" not in refused.stderr + stranger.stderr + away.stderr
    assert not hub.files


def test_a_name_that_no_repository_can_have_is_refused(made: Path) -> None:
    found = CliRunner().invoke(cli, ["push", str(made), "a name/with/too much"], standalone_mode=False)
    assert isinstance(found.exception, UserError)
    assert "is no name of a repository" in str(found.exception)


def test_without_the_client_it_is_said(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    found = CliRunner().invoke(cli, ["push", str(made), "me/rooms"], standalone_mode=False)
    assert isinstance(found.exception, UserError)
    assert "huggingface_hub; install it by `pip install dmx[depth]`" in str(found.exception)


def test_what_cannot_be_bundled_is_refused_and_nothing_is_left(home: Home, tmp_path: Path, tiny_data: Path) -> None:
    def refused(*arguments: object, says: str) -> None:
        with pytest.raises(UserError, match=says):
            invoke(home, "export", *arguments, "--bundle")

    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine").write_text("mine")
    refused("both", tmp_path / "there", says="is there already")
    refused("both", tmp_path / "new", "--format", "pt2", says="pickle inside.*leave out --format pt2")
    refused("nobody", tmp_path / "new", says="there is no run 'nobody'")
    going = Home(tmp_path / "home")
    shutil.copytree(home.run("both"), going.run("both"))
    (going.run("both") / "result.json").unlink()
    with pytest.raises(UserError, match="run both has not ended"):
        invoke(going, "export", "both", tmp_path / "new", "--bundle")
    assert {path.name for path in tmp_path.iterdir()} == {"there", "home"}
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"Copyright (c) 2024".ljust(113) + b".",  # a whole pickle: a text of ord("o") bytes
        b"Port.",
        b"copyright\nholders\nReserve all rights.",
        b"cc-by-4.0\nAttribution\nRedistribution is allowed.",
        b"it is\nnobody's\n.",
        b"MIT License\n\nPermission is hereby granted",
        b"---\nlicense: other\n---\nos\nsystem\n",
    ],
)
def test_texts_that_begin_as_pickles_do_are_texts(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_bytes(text)
    check_text(tmp_path / "LICENSE")
