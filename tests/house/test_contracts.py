"""Who may import whom, as `[tool.importlinter]` in pyproject.toml says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

# contract -> the module of a copy and the line in it that breaks the contract
BREACHES = {
    "Rooms import downward only": ("dmx/metrics/iou.py", "import dmx.losses"),
    "No component receives a configuration": ("dmx/weighting/fixed.py", "import dmx.config"),
    "Tools that make and check data sets": ("dmx/experiment/prepare.py", "import dmx.datatools.stats"),
    "A configuration is read without any heavy library": ("dmx/errors.py", "import torch"),  # reaches it indirectly
    "Results are ranked and compared": ("dmx/training/result.py", "import torch"),
    "MLflow is known": ("dmx/results/ranking.py", "import mlflow"),
    "TensorBoard is known": ("dmx/cli/sync.py", "import tensorboard"),
    "Optuna is known": ("dmx/cli/sweep.py", "import optuna"),
    "click is known": ("dmx/sweep/study.py", "import click"),
    "albumentations is known": ("dmx/data/loader.py", "import albumentations"),
}


def lint_imports(folder: Path) -> tuple[int, str]:
    """Exit code and output of `lint-imports` on the package and the pyproject.toml in `folder`."""
    code = "import sys\nfrom importlinter.cli import lint_imports_command\nsys.exit(lint_imports_command())"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def verdicts(output: str) -> dict[str, str]:
    return dict(re.findall(r"^(\S.*) (KEPT|BROKEN)$", output, re.MULTILINE))


def test_every_contract_is_kept() -> None:
    code, output = lint_imports(ROOT)
    assert code == 0, output
    assert len(verdicts(output)) == len(BREACHES)
    assert set(verdicts(output).values()) == {"KEPT"}


def test_every_contract_sees_its_breach(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "dmx", tmp_path / "dmx", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, line in BREACHES.values():
        path = tmp_path / file
        path.write_text(f"{path.read_text()}\n{line}\n")
    code, output = lint_imports(tmp_path)
    assert code == 1, output
    for contract in BREACHES:
        assert [verdict for name, verdict in verdicts(output).items() if name.startswith(contract)] == ["BROKEN"]


def test_a_new_room_must_be_given_its_place(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "dmx", tmp_path / "dmx", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "dmx/attic").mkdir()
    (tmp_path / "dmx/attic/__init__.py").write_text("")
    code, output = lint_imports(tmp_path)
    assert code == 1
    assert "attic" in output
