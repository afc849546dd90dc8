"""`bsp-hf publish`: what it says, and with which exit status."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from support.loopback_hub import TOKEN, serve_hub
from typer.testing import CliRunner

from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPModel, save_checkpoint_folder
from bsp_hf.cli.application import app

REPO = "org/bsp-tsm-r18"
CARD = ("--license", "apache-2.0", "--training-data", "Rendered clips.")


def publish(*words, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["publish", *map(str, words)])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.fixture
def folder(tmp_path) -> Path:
    backbone = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    torch.manual_seed(0)
    return save_checkpoint_folder(
        BSPModel(BSPConfig(backbone_config=backbone)), BSPFeatureExtractor(), tmp_path / "encoder"
    )


def test_publishing_and_what_it_says(folder, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serve_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        words = ["--private", "--tag", "v1", "--message", "First light", "--dataset", "org/clips"]
        said = publish(folder, REPO, *CARD, *words)
        assert "datasets:\n- org/clips\n" in hub.read(REPO, "README.md").decode()
        repository = hub.repositories["models", REPO]
        commit = repository.branches["main"]
        assert f"commit {commit[:12]}, tag v1" in said and f"{hub.url}/{REPO}/commit/{commit}" in said
        assert repository.is_private and repository.find("v1").title == "First light"
        again = publish(folder, REPO)  # the card keeps what was filled in
        assert "unchanged" in again and " new" not in again
        (folder / "NOTICE").write_text("thanks")
        said = publish(folder, REPO, "--parent-commit", "0" * 40, code=2)
        assert "somebody else committed" in said


def test_a_dry_run_lists_files_and_sizes(folder):
    said = publish(folder, REPO, *CARD, "--dry-run")
    size = (folder / "model.safetensors").stat().st_size
    assert "would be published" in said
    (line,) = [line for line in said.splitlines() if "model.safetensors" in line]
    assert line.split()[1:] == [f"{size / 1e3:.1f}", "kB", "planned"]
    assert all(path.name in said for path in folder.iterdir())


def test_refusals_list_every_reason_and_give_status_2(folder):
    (folder / "optimizer.pt").write_bytes(b"x")
    (folder / "snippets.py").unlink()
    said = publish(folder, REPO, code=2)
    assert said.startswith("Error: ") and said.count("\n  - ") == 5
    assert "optimizer.pt may be a pickle" in said and "snippets.py is missing" in said
    assert "license" in said and "Training data" in said
    assert "is not a folder" in publish(folder / "nothing", REPO, code=2)


def test_without_a_network_it_says_so(folder):
    """The tests are offline; nothing may hang or end in a traceback."""
    said = publish(folder, REPO, *CARD, code=2)
    assert "offline mode is enabled" in said
