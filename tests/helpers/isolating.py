"""Programs that can import nothing but a few packages: as they run where nothing else is installed."""

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path


def packages_alone(folder: Path, *packages: str) -> None:
    """Links to the files of some installed packages, in a folder of their own."""
    folder.mkdir()
    for package in packages:
        site = Path(str(distribution(package).locate_file("")))
        for top in {path.parts[0] for path in distribution(package).files or ()} - {".."}:
            (folder / top).symlink_to(site / top)


def isolated(packages: Path, folder: Path, *arguments: str) -> str:
    """What a Python program prints in `folder` that can import the packages in `packages` alone."""
    env = {"PYTHONPATH": str(packages), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=folder, check=True).stdout
