"""What dmx uses of libraries that they do not promise: each use is listed, is there, and has a ceiling."""

import ast
import inspect
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial

ROOT = Path(__file__).parent.parent.parent
SEEN = {
    "dmx/sweep/optuna_private.py": {
        "optuna.storages._cached_storage._CachedStorage",
        "storage._get_stale_trial_ids",
        "study._storage",
        "super()._get_trials",
    },
    "dmx/tracking/mlflow_forms.py": {"part._to_mlflow_entity"},
    "dmx/training/device.py": {"torch._subclasses.fake_tensor.FakeTensorMode"},
    "dmx/training/step.py": {"torch._functorch"},
}
"""Private names in the code, by file. Whoever adds one adds it here, and below what must be there for it."""
PARTS = [
    ("optuna", "optuna.storages._cached_storage", "_CachedStorage", "dmx/sweep/optuna_private.py"),
    ("optuna", "optuna.storages", "RDBStorage._get_stale_trial_ids", "dmx/sweep/optuna_private.py"),
    ("optuna", "optuna.storages", "RDBStorage._get_trials", "dmx/sweep/optuna_private.py"),
    ("optuna", "optuna.storages", "RDBStorage.record_heartbeat", "dmx/sweep/optuna_private.py"),
    ("optuna", "optuna.storages", "BaseStorage.set_trial_system_attr", "dmx/sweep/optuna_private.py"),
    ("optuna", "optuna.trial", "FrozenTrial.system_attrs", "dmx/sweep/optuna_private.py"),
    ("optuna", "optuna", "Study._get_trials", "dmx/sweep/optuna_private.py"),
    ("mlflow", "mlflow.data.dataset", "Dataset._to_mlflow_entity", "dmx/tracking/mlflow_forms.py"),
    ("mlflow", "mlflow.data.dataset", "Dataset._compute_digest", "dmx/tracking/mlflow_forms.py"),
    ("torch", "torch._subclasses.fake_tensor", "FakeTensorMode", "dmx/training/device.py"),
    ("torch", "torch._functorch.config", "donated_buffer", "dmx/training/step.py"),
    ("torch", "torch._dynamo", "__name__", "dmx/sweep/process.py"),
    ("tensorboard", "tensorboard.compat.proto.event_pb2", "Event", "dmx/tracking/tensorboard_store.py"),
    ("tensorboard", "tensorboard.plugins.hparams.plugin_data_pb2", "HParamsPluginData", "dmx/tracking"),
    ("tensorboard", "tensorboard.plugins.pr_curve.plugin_data_pb2", "PrCurvePluginData", "dmx/tracking"),
    ("tensorboard", "tensorboard.summary.writer.record_writer", "RecordWriter", "dmx/tracking"),
    ("albumentations", "albumentations.augmentations.geometric.functional", "perspective", "dmx/data/augment"),
    ("albumentations", "albumentations.augmentations.pixel.functional", "separable_convolve", "dmx/data/augment"),
    ("segmentation-models-pytorch", "segmentation_models_pytorch.encoders", "encoders", "dmx/models"),
]


def names(path: Path) -> Iterator[str]:
    """The private names of others that a file uses: imported, or as attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("dmx"):
            for alias in node.names:
                if any(private(part) for part in (*node.module.split("."), alias.name)):
                    yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            imported = {alias.name for alias in node.names} - {"_thread"}  # which Python documents
            yield from (name for name in imported if any(private(part) for part in name.split(".")))
        elif isinstance(node, ast.Attribute) and private(node.attr):
            whose = ast.unparse(node.value)
            if whose not in ("self", "cls", "os"):  # os._exit is documented
                yield f"{whose}.{node.attr}"


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_every_private_use_is_listed() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): used
        for path in sorted((ROOT / "dmx").rglob("*.py"))
        if (used := set(names(path)))
    }
    assert found == SEEN


@pytest.mark.parametrize(("library", "module", "name", "user"), PARTS, ids=[f"{one[1]}.{one[2]}" for one in PARTS])
def test_each_part_is_there(library: str, module: str, name: str, user: str) -> None:
    try:
        found = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        pytest.fail(
            f"{library} has no {module}.{name} any more ({error}), and {user} relies on it: mend that, or lower the "
            f"ceiling of {library} in pyproject.toml."
        )


def test_what_is_given_to_a_trial_stands_where_dmx_puts_it() -> None:
    """`set_fixed_params` writes the values of a trial as `Study.enqueue_trial` does, into a trial that is there."""
    from dmx.sweep.optuna_private import FIXED_PARAMS

    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25})
    (queued,) = study.get_trials()
    assert queued.system_attrs[FIXED_PARAMS] == {"x": 0.25}
    storage, trial = study._storage, study.ask()
    storage.set_trial_system_attr(trial._trial_id, FIXED_PARAMS, {"x": 0.75})
    assert Trial(study, trial._trial_id).suggest_float("x", 0.0, 1.0) == 0.75


def test_the_ways_in_take_what_dmx_gives() -> None:
    assert [*inspect.signature(Trial).parameters] == ["study", "trial_id"]
    assert {"heartbeat_interval", "grace_period", "engine_kwargs"} <= {*inspect.signature(RDBStorage).parameters}
    assert "get_all_trials" in BaseStorage.__abstractmethods__
    assert isinstance(FrozenTrial.system_attrs, property) or "system_attrs" in inspect.getsource(FrozenTrial)


def test_a_study_has_the_attributes_that_a_view_sets() -> None:
    study = optuna.create_study()
    assert study._thread_local.cached_all_trials is None
    assert study._directions == study.directions
    given = [*inspect.signature(optuna.Study._get_trials).parameters]
    assert given == ["self", "deepcopy", "states", "use_cache"]


def test_optuna_is_private_in_one_file() -> None:
    """A private name of Optuna stands in `dmx/sweep/optuna_private.py` alone."""
    outside = {
        (path.name, name)
        for path in sorted((ROOT / "dmx").rglob("*.py"))
        if path.name != "optuna_private.py"
        for name in names(path)
        if name.startswith("optuna") or "trial_id" in name or name.endswith(("._storage", "._get_trials"))
    }
    assert outside == set()


def test_ray_can_be_kept_to_this_machine() -> None:
    """`ray.init` passes names that it does not know on; this one is among those that it asks for itself."""
    ray = pytest.importorskip("ray")
    assert '"_node_ip_address"' in inspect.getsource(sys.modules[ray.init.__module__])


def test_what_is_relied_on_has_a_ceiling() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["ray"]
    bounds = {one.partition(">")[0]: one for one in wanted}
    for library in {*(one[0] for one in PARTS), "ray"}:
        assert "<" in bounds[library], f"{bounds[library]}: dmx uses what {library} does not promise; give it a ceiling"
