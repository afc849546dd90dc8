"""A checkpoint folder is the old one or the new one, whole, wherever saving is interrupted."""

import pytest
import torch
from support.interruption import Interruption, read_folder
from transformers import AutoModel

from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPModel, save_checkpoint_folder
from bsp_hf.publishing import folder as saving

BACKBONE = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}


def make_model(value: float) -> BSPModel:
    model = BSPModel(BSPConfig(backbone_config=BACKBONE))
    for weight in model.parameters():
        torch.nn.init.constant_(weight, value)
    return model


@pytest.fixture(scope="module")
def interruption():
    return Interruption()


@pytest.mark.parametrize("is_new", [True, False])
def test_the_folder_is_old_or_new_wherever_saving_is_interrupted(is_new, interruption, tmp_path, monkeypatch):
    # Few of the modules that are copied: one step is like the next.
    (tmp_path / "code").mkdir()
    for name in ("snippets.py", "pipeline_video_features.py"):
        (tmp_path / "code" / name).write_bytes((saving.ENCODER_CODE / name).read_bytes())
    monkeypatch.setattr(saving, "ENCODER_CODE", tmp_path / "code")
    old, new, target = make_model(1.0), make_model(2.0), tmp_path / "work" / "encoder"
    extractor = BSPFeatureExtractor()
    whole = read_folder(save_checkpoint_folder(new, extractor, tmp_path / "encoder", {"steps": 2}))
    if not is_new:
        save_checkpoint_folder(old, extractor, target, {"steps": 1})
        (target / "notes.txt").write_text("mine")
        before = read_folder(target)
    step = 1
    while interruption.run(step, lambda: save_checkpoint_folder(new, extractor, target, {"steps": 2})):
        assert read_folder(target) == before if not is_new else not target.exists()
        assert [path.name for path in target.parent.glob("*")] == ([] if is_new else ["encoder"])
        step += 1
    assert step > 8
    assert read_folder(target) == whole | ({} if is_new else {"notes.txt": b"mine"})


def test_weights_in_parts_do_not_outlive_a_save_in_one_file(tmp_path):
    make_model(1.0).save_pretrained(tmp_path / "encoder", max_shard_size="4KB")
    assert (tmp_path / "encoder" / "model.safetensors.index.json").is_file()
    save_checkpoint_folder(make_model(2.0), BSPFeatureExtractor(), tmp_path / "encoder")
    assert [path.name for path in (tmp_path / "encoder").glob("*.safetensors*")] == ["model.safetensors"]
    model = AutoModel.from_pretrained(tmp_path / "encoder")
    assert all((weight == 2.0).all() for weight in model.parameters())


def test_an_edited_card_and_other_files_are_kept(tmp_path, caplog):
    folder = save_checkpoint_folder(make_model(1.0), BSPFeatureExtractor(), tmp_path / "encoder")
    edited = (folder / "README.md").read_text().replace("# encoder", "# My encoder")
    (folder / "README.md").write_text(edited)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "state").write_text("kept")
    save_checkpoint_folder(make_model(2.0), BSPFeatureExtractor(), folder, {"steps": 2})
    assert (folder / "README.md").read_text() == edited and "was edited and is kept" in caplog.text
    assert (folder / "checkpoints" / "state").read_text() == "kept"
