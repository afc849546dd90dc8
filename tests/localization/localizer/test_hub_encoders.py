"""A localizer is saved with an encoder of the Hub: what an encoder needs is downloaded, and nothing else."""

import pytest
from huggingface_hub import constants
from support.hub_repositories import Repository, StoredFile
from support.loopback_hub import TOKEN, serve_hub
from support.tiny_localizers import TASKS, tiny_encoder, tiny_extractor, tiny_localizer
from transformers import AutoModel, pipeline

from bsp_hf import BSPForBoundaryClassification, save_checkpoint_folder, save_localizer_folder

# What repositories of encoders hold beside the encoder.
OTHERS = {
    "checkpoints/step-00000100/model.safetensors": b"of another step",
    "onnx/model.onnx": b"of another runtime",
    "pytorch_model.bin": b"a pickle",
    "tf_model.h5": b"of another library",
    "model.fp16.safetensors": b"of another type",
    "predictions.json": b"{}",
    "runs/events.out": b"a log",
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An encoder with its head at `org/bsp` on a hub of its own, and an empty cache."""
    with serve_hub() as running:
        folder = save_checkpoint_folder(
            tiny_encoder(BSPForBoundaryClassification), tiny_extractor(), tmp_path / "bsp"
        )
        files = {path.name: path.read_bytes() for path in folder.iterdir()} | OTHERS
        running.repositories["models", "org/bsp"] = repository = Repository()
        commit = repository.add(
            "encoder", None, {name: StoredFile.regular(content) for name, content in files.items()}
        )
        repository.branches["main"] = commit.oid
        address = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        client = {"ENDPOINT": running.url, "HUGGINGFACE_CO_URL_TEMPLATE": address, "HF_HUB_OFFLINE": False}
        client |= {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": True}
        for name, value in client.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


def test_only_the_encoder_is_downloaded(hub, tmp_path, levels_video):
    folder = save_localizer_folder(tiny_localizer("gtad"), tmp_path / "gtad", encoder="org/bsp")
    asked = {request.partition("/resolve/")[2].partition("/")[2] for request in hub.requests}
    assert asked & {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert not asked & OTHERS.keys()
    copied = {path.name for path in (folder / "encoder").iterdir()}
    assert {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"} <= copied
    assert {"training_record.json", "modeling_bsp.py"} <= copied
    assert not copied & {name.rpartition("/")[2] for name in OTHERS}.difference({"model.safetensors"})
    # With its head, as it was published.
    assert type(AutoModel.from_pretrained(folder / "encoder")).__name__ == "BSPModel"
    assert "BoundaryClassification" in (folder / "encoder" / "config.json").read_text()
    assert len(pipeline(TASKS["gtad"], model=str(folder))(levels_video))


def test_weights_in_another_format_are_written_anew(tmp_path, levels_video):
    import torch

    encoder = save_checkpoint_folder(tiny_encoder(), tiny_extractor(), tmp_path / "bsp")
    torch.save(tiny_encoder().state_dict(), encoder / "pytorch_model.bin")
    (encoder / "model.safetensors").unlink()
    folder = save_localizer_folder(tiny_localizer("gtad"), tmp_path / "gtad", encoder=encoder)
    assert (folder / "encoder" / "model.safetensors").is_file()
    assert not (folder / "encoder" / "pytorch_model.bin").exists()
    assert len(pipeline(TASKS["gtad"], model=str(folder))(levels_video))
