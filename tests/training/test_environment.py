"""The record of where a run happened is complete, and does not hold the machine's name."""

import platform
import subprocess
import sys

import pytest

from bsp_hf.training import environment
from bsp_hf.training.environment import (
    describe_command,
    describe_commit,
    describe_hardware,
    describe_versions,
)


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_commit_of_a_checkout_shows_changes(tmp_path, monkeypatch):
    package = tmp_path / "bsp_hf"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(environment, "_PACKAGE", package)
    git(tmp_path, "init", "-q")
    (tmp_path / "other").write_text("")
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-qm", "something else")
    assert describe_commit() is None  # installed inside of another project's checkout
    git(tmp_path, "add", "bsp_hf")
    git(tmp_path, "commit", "-qm", "the package")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert describe_commit() == commit
    (package / "__init__.py").write_text("changed = True")
    assert describe_commit() == f"{commit} (changed)"


def test_without_a_checkout_or_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_PACKAGE", tmp_path)
    assert describe_commit() is None
    monkeypatch.setenv("PATH", "")
    assert describe_commit() is None


def test_command_names_the_options_of_the_launcher(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["examples/pretrain.py", "--video_dir", "my clips"])
    for name in ("ACCELERATE_MIXED_PRECISION", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert describe_command() == "python examples/pretrain.py --video_dir 'my clips'"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("WORLD_SIZE", "4")
    launched = "accelerate launch --num_processes 4 --mixed_precision bf16 examples/pretrain.py"
    assert describe_command().startswith(launched)
    assert describe_hardware("cpu")["processes"] == 4


@pytest.mark.parametrize("name", ["bsp_hf", "torch", "transformers", "accelerate", "av"])
def test_versions_are_those_of_the_modules(name):
    from importlib import import_module

    assert describe_versions()[name].split("+")[0] == import_module(name).__version__.split("+")[0]


def test_the_machine_is_described_but_not_named():
    described = describe_hardware("cpu")
    assert (
        described["device"] == "cpu"
        and described["threads"] >= 1
        and platform.machine() in described["processor"]
    )
    assert platform.node() not in str(described)
