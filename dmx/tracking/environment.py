"""The environment of a run: packages, machine, and git state of the code."""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from dmx.machine import processor

PACKAGES = (
    "dmx",
    "albumentations",
    "kornia",
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "optuna",
    "pydantic",
    "safetensors",
    "segmentation-models-pytorch",
    "tensorboard",
    "timm",
    "torch",
    "torchvision",
)
LONGEST_DIFF = 1_000_000
"""Maximum number of characters of a stored diff; a longer one is data, not code."""
PLAIN = ("-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false", "-c", "diff.relative=false")
"""Options with which a diff can be applied, whatever the user's settings are."""

NAMED = 5
"""Most files to name."""

Fact = str | int | list[str] | dict[str, str] | None


def facts() -> dict[str, Fact]:
    """Versions and machine, ready for JSON."""
    return {
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
        "platform": platform.platform(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    }


def installed(name: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def git_state(cwd: Path) -> tuple[str | None, str]:
    """The commit of the repository around `cwd`, and the diff of the working tree from it.

    Returns:
        Commit and diff; None and "" if there is no git, no repository or no commit yet. A diff that is too long is
        truncated with a note. Untracked files are listed by name only.
    """
    commit = git(cwd, "rev-parse", "HEAD")
    if commit is None:
        return None, ""
    diff = git(cwd, *PLAIN, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv") or ""
    status = git(cwd, "status", "--porcelain", "--untracked-files=normal") or ""
    new = [line[3:] for line in status.splitlines() if line.startswith("??")]
    diff += "".join(f"# not in git: {name}\n" for name in new)
    if len(diff) > LONGEST_DIFF:
        diff = f"{diff[:LONGEST_DIFF]}\n# cut here: the whole diff has {len(diff)} characters\n"
    return commit.strip(), diff


def recorded_part(diff: str) -> tuple[str, list[str]]:
    """The part of a diff of `git_state` that can be applied, and what is not recorded in it, a line each."""
    if re.search(r"^# cut here", diff, re.MULTILINE):
        return "", [f"a diff of more than {LONGEST_DIFF:,} characters is not recorded whole, and is left out"]
    new = re.findall(r"^# not in git: (.*)$", diff, re.MULTILINE)
    sections = re.split(r"^(?=diff --git )", re.sub(r"^# not in git: .*\n", "", diff, flags=re.MULTILINE), flags=re.M)
    binary = [text for text in sections if re.search(r"^Binary files .* differ$", text, re.MULTILINE)]
    names = [text.partition("\n")[0].rpartition(" b/")[2] for text in binary]
    lacking = [f"changes of binary files are not recorded: {few(names)}"] if names else []
    if new:
        lacking.append(f"files that are not in git are not recorded: {few(new)}")
    return "".join(text for text in sections if text not in binary), lacking


def few(names: Sequence[str]) -> str:
    """Some names, and how many more."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def git(cwd: Path, *arguments: str) -> str | None:
    """The output of a git command; None if it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", errors="replace")
