"""Who made a feature: the same answer for the same encoder, another one for another."""

import shutil

import pytest
import torch
from support.tiny import randomize, tiny_config, tiny_extractor
from transformers import AutoModel

from bsp_hf import BSPFeatureExtractor, BSPForBoundaryClassification, BSPModel, save_checkpoint_folder
from bsp_hf.encoder.provenance import describe_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model = randomize(BSPForBoundaryClassification(tiny_config()))
    return save_checkpoint_folder(model, tiny_extractor(), tmp_path_factory.mktemp("parent") / "bsp-tiny")


def describe(folder, **kwargs):
    return describe_encoder(
        AutoModel.from_pretrained(folder, **kwargs), BSPFeatureExtractor.from_pretrained(folder)
    )


def test_a_folder_is_named_by_its_own_name_and_by_what_it_holds(folder):
    record = describe(folder)
    assert record["id"] == "bsp-tiny"
    assert record["revision"].startswith("weights-")
    assert record["dtype"] == "float32"
    assert set(record) == {"id", "revision", "settings_hash", "dtype"}


def test_place_head_and_precision_leave_revision_and_settings_alone(folder, tmp_path):
    expected = describe(folder)
    copied = tmp_path / "bsp-tiny"
    shutil.copytree(folder, copied)
    assert describe(copied) == expected
    with_head = BSPForBoundaryClassification.from_pretrained(folder)
    assert describe_encoder(with_head, BSPFeatureExtractor.from_pretrained(folder)) == expected
    assert describe(folder, dtype=torch.bfloat16) == {**expected, "dtype": "bfloat16"}
    in_memory = BSPModel(tiny_config())
    in_memory.load_state_dict(with_head.bsp.state_dict())
    record = describe_encoder(in_memory, tiny_extractor())
    assert (record["revision"], record["settings_hash"]) == (expected["revision"], expected["settings_hash"])
    assert record["id"] == "BSPModel"


def test_training_on_changes_the_revision(folder):
    model = AutoModel.from_pretrained(folder)
    before = describe_encoder(model, tiny_extractor())
    with torch.no_grad():
        model.backbone.encoder.stages[3].layers[0].layer[0].normalization.running_mean[0] += 1
    assert describe_encoder(model, tiny_extractor())["revision"] != before["revision"]


@pytest.mark.parametrize(
    ("fields", "settings", "changes"),
    [
        ({"shift_div": 4}, {}, True),
        ({"shift_place": "block"}, {}, True),
        ({"num_frames": 16}, {}, True),
        ({}, {"image_mean": [0.5, 0.5, 0.5]}, True),
        ({}, {"size": {"shortest_edge": 40}}, True),
        ({}, {"fps": 10.0}, True),
        ({}, {"stride_frames": 2}, False),  # which rows there are, recorded by name
        ({}, {"padding": "drop"}, False),
        ({"classifier_dropout": 0.1}, {}, False),
        ({"num_labels": 7}, {}, False),
    ],
)
def test_settings_hash_follows_what_changes_a_value(fields, settings, changes):
    plain = describe_encoder(BSPModel(tiny_config()), tiny_extractor())
    other = describe_encoder(BSPModel(tiny_config(**fields)), tiny_extractor(**settings))
    assert (other["settings_hash"] != plain["settings_hash"]) == changes


def test_a_folder_that_has_gone_still_has_its_name(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "deep" / "down" / "bsp-gone")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "deep" / "down" / "bsp-gone", "./deep/down/bsp-gone"):
        model = AutoModel.from_pretrained(path)
        shutil.move(tmp_path / "deep", tmp_path / "away")
        assert describe_encoder(model, tiny_extractor())["id"] == "bsp-gone"
        shutil.move(tmp_path / "away", tmp_path / "deep")


def test_a_model_of_the_hub_is_named_by_its_commit(folder):
    model = AutoModel.from_pretrained(folder)
    model.config._name_or_path = model.name_or_path = "someone/bsp-tiny"
    model.config._commit_hash = "0123456789abcdef0123456789abcdef01234567"
    record = describe_encoder(model, tiny_extractor())
    assert record["id"] == "someone/bsp-tiny"
    assert record["revision"] == "0123456789abcdef0123456789abcdef01234567"


def cache_revision(cache, model, commit, branch=None):
    """Put a model into the cache as the client does."""
    repository = cache / "models--org--tiny"
    model.save_pretrained(repository / "snapshots" / commit)
    if branch:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / branch).write_text(commit)
    return repository / "snapshots" / commit


def test_a_pinned_model_is_not_taken_for_the_newest(tmp_path, monkeypatch):
    """transformers records no revision any more, so the weights tell among several in the cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    old, new = "a" * 40, "b" * 40
    first = cache_revision(tmp_path, randomize(BSPForBoundaryClassification(tiny_config())), old)
    pinned = BSPModel.from_pretrained(first)
    pinned.name_or_path = "org/tiny"
    pinned.config._commit_hash = None
    assert describe_encoder(pinned, tiny_extractor())["revision"] == old  # the only one, and no branch has it

    newer = randomize(BSPForBoundaryClassification(tiny_config()), seed=1)
    second = cache_revision(tmp_path, newer, new, branch="main")
    for folder, commit in ((first, old), (second, new)):
        model = BSPModel.from_pretrained(folder, dtype=torch.bfloat16)
        model.name_or_path = "org/tiny"
        model.config._commit_hash = None
        assert describe_encoder(model, tiny_extractor())["revision"] == commit
    with torch.no_grad():
        next(model.parameters()).add_(1)  # trained on since
    assert describe_encoder(model, tiny_extractor())["revision"].startswith("weights-")
