"""Folders of localizers are published whole, with their encoder and their words, and only if they fit."""

import json
import shutil

import pytest
from huggingface_hub import constants
from support.loopback_hub import TOKEN, serve_hub
from support.tiny_localizers import companions_of, tiny_encoder, tiny_extractor, tiny_localizer

from bsp_hf import publish_folder, save_checkpoint_folder, save_localizer_folder
from bsp_hf.publishing.folder_check import check_folder

CARD = {"license": "mit", "training_data": "Nothing: the weights are drawn at random."}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    encoder = save_checkpoint_folder(tiny_encoder(), tiny_extractor(), home / "bsp-tiny")
    return {
        kind: save_localizer_folder(
            tiny_localizer(kind), home / kind, encoder=encoder, **companions_of(kind), record={"step": 3}
        )
        for kind in ("gtad", "tan", "lgi", "actionness")
    }


@pytest.fixture
def folder(saved, tmp_path):
    return lambda kind: shutil.copytree(saved[kind], tmp_path / kind)


def refuses(folder, *reasons):
    """Publishing fails before the network is asked; it would fail otherwise, as there is none."""
    with pytest.raises(ValueError, match="cannot be published") as raised:
        publish_folder(folder, "org/name", card=CARD, endpoint="http://127.0.0.1:9")
    for reason in reasons:
        assert reason in str(raised.value)


def test_everything_goes_with_a_card_made_of_the_record(folder, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    tan = folder("tan")
    for name in ("history.json", "predictions.jsonl", "checkpoints/step-1/optimizer.bin"):
        (tan / name).parent.mkdir(parents=True, exist_ok=True)
        (tan / name).write_text("{}")
    with serve_hub() as hub:
        report = publish_folder(tan, "org/tan", card=CARD, token=TOKEN, endpoint=hub.url)
        files = set(hub.repositories["models", "org/tan"].find("main").files)
        assert {"encoder/model.safetensors", "encoder/modeling_bsp.py", "word_vectors.npz"} <= files
        assert {file.path for file in report.files} == files - {".gitattributes"}
        assert len(report.left_out) == 3 and not {"history.json", "predictions.jsonl"} & files
        for name in ("README.md", "encoder/config.json", "training_record.json"):
            assert hub.read("org/tan", name) == (tan / name).read_bytes()
        again = publish_folder(tan, "org/tan", token=TOKEN, endpoint=hub.url)
        assert again.commit == report.commit
    card = (tan / "README.md").read_text()
    assert "license: mit" in card and 'pipeline("video-grounding", model="org/tan")' in card
    assert "| optimizer steps | 3 |" in card and "in this repository" in card


def test_a_dry_run_writes_nothing_and_gaps_are_named(folder):
    gtad = folder("gtad")
    report = publish_folder(gtad, "org/gtad", card=CARD, endpoint="http://127.0.0.1:9", dry_run=True)
    assert "README.md" in {file.path for file in report.files} and not (gtad / "README.md").exists()
    with pytest.raises(ValueError, match="cannot be published") as raised:
        publish_folder(gtad, "org/gtad", endpoint="http://127.0.0.1:9")
    for gap in ("metadata `license:` is empty", "`## Training data`", "`## Licence`"):
        assert gap in str(raised.value)


@pytest.mark.parametrize("name", ["config.json", "training_record.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    gtad = folder("gtad")
    (gtad / name).unlink()
    refuses(gtad, f"{name} is missing")


@pytest.mark.parametrize(
    "name",
    [
        "encoder/optimizer.bin",
        "encoder/install.py",
        "features.npz",
        "text_encoder/a.py",
        "encoder/sub/config.json",
    ],
)
def test_what_does_not_belong_is_refused(folder, name):
    gtad = folder("gtad")
    (gtad / name).parent.mkdir(parents=True, exist_ok=True)
    (gtad / name).write_bytes(b"x")
    refuses(gtad, name)


def test_an_encoder_that_is_another_is_refused(folder, tmp_path):
    gtad = folder("gtad")
    shutil.rmtree(gtad / "encoder")
    save_checkpoint_folder(tiny_encoder(seed=1), tiny_extractor(), gtad / "encoder")
    refuses(gtad, "its encoder does not fit")


def test_what_can_be_had_elsewhere_is_noted_and_a_lost_vocabulary_refused(
    folder,
):
    tan, lgi = folder("tan"), folder("lgi")
    shutil.rmtree(tan / "encoder")
    (tan / "word_vectors.npz").unlink()
    found = check_folder(tan)
    assert not found.problems and len(found.notes) == 2
    assert "there is no encoder in it" in found.notes[0] and "reads no sentence" in found.notes[1]
    (lgi / "vocabulary.json").unlink()
    refuses(lgi, "it reads no sentence by itself")


@pytest.mark.slow
def test_a_saved_pipeline_keeps_how_its_localizer_was_made(saved, tmp_path):
    from transformers import pipeline

    import bsp_hf  # noqa: F401

    pipeline("step-localization", model=str(saved["actionness"])).save_pretrained(tmp_path / "again")
    record = json.loads((tmp_path / "again" / "training_record.json").read_text())
    assert record["step"] == 3 and record["localizer"]["holds_encoder"]
    assert not check_folder(tmp_path / "again").problems
