import json
import os
import subprocess
from importlib.metadata import version

import pytest
import torch

from dmx.tracking import environment
from dmx.tracking.environment import facts, git_state


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("one\n")
    git(folder, "add", "a.txt")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_facts_are_those_of_this_machine_and_fit_into_json():
    known = json.loads(json.dumps(facts()))
    assert known["packages"]["torch"] == version("torch")
    assert known["packages"]["mlflow"] == version("mlflow")
    assert known["threads"] == torch.get_num_threads()
    assert known["cores"] == os.cpu_count()
    assert len(known["gpus"]) == torch.cuda.device_count()
    assert known["cpu"]


def test_a_package_that_is_not_installed_has_no_version():
    assert environment.installed("no-such-distribution") is None


def test_a_clean_repository_has_a_commit_and_no_diff(repository):
    assert git_state(repository) == (git(repository, "rev-parse", "HEAD").strip(), "")


def test_the_diff_holds_what_is_changed_staged_and_new(repository):
    (repository / "a.txt").write_text("two\n")
    (repository / "b.txt").write_text("new, staged\n")
    git(repository, "add", "b.txt")
    (repository / "c.txt").write_text("new\n")
    _, diff = git_state(repository)
    assert "-one\n+two\n" in diff
    assert "+new, staged\n" in diff
    assert diff.endswith("# not in git: c.txt\n")


def test_the_diff_can_be_applied_whatever_the_settings_of_the_user(repository):
    for key in ("diff.noprefix", "diff.mnemonicPrefix", "diff.relative"):
        git(repository, "config", key, "true")
    (repository / "a.txt").write_text("two\n")
    (repository / "inside").mkdir()
    _, diff = git_state(repository / "inside")
    assert "--- a/a.txt\n+++ b/a.txt\n" in diff


def test_a_long_diff_is_cut_and_says_so(repository, monkeypatch):
    monkeypatch.setattr(environment, "LONGEST_DIFF", 100)
    (repository / "a.txt").write_text("x" * 5000 + "\n")
    _, diff = git_state(repository)
    assert len(diff) < 200
    assert "# cut here: the whole diff has 5" in diff


def test_outside_a_repository_and_without_git_there_is_no_commit(tmp_path, repository, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    outside = tmp_path / "outside"
    outside.mkdir()
    assert git_state(outside) == (None, "")
    git(outside, "init", "-q")
    assert git_state(outside) == (None, "")  # no commit yet
    monkeypatch.setenv("PATH", "")
    assert git_state(repository) == (None, "")
