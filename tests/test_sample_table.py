"""Tables of samples that earlier versions left on disk are read as what they were."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dmx.metrics.evaluator import components
from dmx.quartet import DepthSpec
from dmx.sample_table import FINISHES, SampleTable

STORED = {
    "mask/iou": ([[2.0, 4.0], [0.0, 0.0]], "ratio", True, [0.5, np.nan]),
    "depth/rmse": ([[18.0, 2.0], [4.0, 1.0]], "root", False, [3.0, 2.0]),
    "depth/silog_lambda1": ([[10.0, 4.0, 2.0], [9.0, 3.0, 1.0]], "spread", False, [1.0, 0.0]),
    "depth/checkerboard": ([[1.0, 2.0, 1.0, 4.0, 9.0], [0.0, 0.0, 0.0, 3.0, 9.0]], "excess", False, [0.25, 0.0]),
    "depth/skill": ([[1.0, 4.0], [3.0, 2.0]], "skill", True, [0.75, -0.5]),
    "joint/skill": ([[1.0, 4.0, 1.0, 2.0], [3.0, 2.0, 1.0, 4.0]], "mean_skill", True, [0.625, 0.125]),
}
"""By metric: sums, the name of the function that finished them in version 0.1.0, its direction, each sample's value."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file in the format of version 0.1.0, written without this package."""
    columns: dict[str, pa.Array] = {"id": pa.array(["a", "b"]), "group": pa.array(["g", "h"])}
    for name, (sums, *_, values) in STORED.items():
        columns[name] = pa.array(values, from_pandas=True)
        columns[f"sums/{name}"] = pa.array(sums, pa.list_(pa.float64(), len(sums[0])))
    meanings = {name: {"finish": key, "higher_is_better": up} for name, (_, key, up, _) in STORED.items()}
    table = pa.table(columns).replace_schema_metadata({b"dmx.meanings": json.dumps(meanings).encode()})
    pq.write_table(table, tmp_path / "val_samples.parquet")
    return tmp_path / "val_samples.parquet"


def test_a_table_of_an_earlier_version_is_read(old: Path) -> None:
    found = SampleTable.load(old)
    assert (found.ids, found.groups) == (["a", "b"], ["g", "h"])
    for name, (sums, _, up, values) in STORED.items():
        np.testing.assert_array_equal(found.sums[name], sums)
        np.testing.assert_allclose(found.values(name), values)
        assert found.meanings[name].higher_is_better is up


def test_a_table_is_written_as_it_always_was(old: Path, tmp_path: Path) -> None:
    SampleTable.load(old).save(tmp_path / "again.parquet")
    before, after = (pq.read_table(path) for path in (old, tmp_path / "again.parquet"))
    assert before.schema.metadata == after.schema.metadata
    assert before.column_names == after.column_names
    assert before.to_pylist() == after.to_pylist()


def test_every_metric_names_a_finish_by_its_key() -> None:
    metrics = {
        **components(DepthSpec("metric", 0.1, 10.0), thorough=True),
        **components(DepthSpec("relative", 0.0, 1.0)),
    }
    assert {component.facts["finish"] for component in metrics.values()} <= set(FINISHES)
    assert {key for _, key, *_ in STORED.values()} == set(FINISHES), "a new finish needs its stored example here"
