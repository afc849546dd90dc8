"""Who made a feature: the same answer for the same encoder, another one for another."""

import copy
import shutil

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from support.every_model import FUSIONS
from support.tiny import FAMILIES, randomize, tiny_backbone, tiny_config, tiny_extractor
from transformers import AutoModel, ViTConfig, pipeline

from bsp_hf import (
    BSPConfig,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    BSPModel,
    save_checkpoint_folder,
)
from bsp_hf.encoder.backbones import BACKBONES
from bsp_hf.encoder.provenance import (
    FEATURE_FIELDS,
    FORMER_NAMES,
    describe_encoder,
    hash_settings,
    loaded_revision,
)


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


KNOWN_HASHES = {
    "resnet": "679b179995273cde",
    "regnet": "b1ca1248447b7cd6",
    "convnext": "fa9fa2cff892476f",
    "convnextv2": "ea4c9ac6dbc62fb9",
    "mobilenet_v2": "040bf880aff28c73",
    "efficientnet-lite": "e1eb1ac2f16878a8",
    "videomae": "8d2eea7bca08bb71",
    "timesformer": "0515bc102e22a76a",
    "vivit": "3090122123f18d1e",
    "vjepa2": "b8f53cec6236c849",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_hash_of_known_settings_is_the_stored_one(family):
    """Tracks are stored with it: if one of these changes, features that people keep are refused."""
    config = BSPConfig(backbone_config=tiny_backbone(family))
    assert describe_encoder(BSPModel(config), tiny_extractor())["settings_hash"] == KNOWN_HASHES[family]


def test_the_hash_of_the_paper_s_encoder_is_the_stored_one():
    with torch.device("meta"):
        model = BSPModel(BSPConfig())
    assert hash_settings(model.config, BSPFeatureExtractor()) == "4a95d5e6ad88e6de"


def test_the_hash_of_a_fusion_is_the_stored_one():
    hashes = {name: hash_settings(make().config, tiny_extractor()) for name, make in FUSIONS.items()}
    assert hashes == {
        "two-head": "e707d830811135db",
        "distilled": "bdbd36ee493a13ec",
        "two-stream": "2c9bd435294dfdb4",
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_field_of_a_release_to_come_changes_no_hash(family):
    config = BSPConfig(backbone_config=tiny_backbone(family))
    extractor = tiny_extractor()
    known = hash_settings(config, extractor)
    config.backbone_config.attention_kernel = config.attention_kernel = "fast"
    extractor.keeps_order = True
    assert hash_settings(config, extractor) == known
    config.backbone_config.hidden_act = "silu"  # not so for a field that changes features
    assert (hash_settings(config, extractor) != known) == (family != "efficientnet-lite")  # which has none


def test_every_backbone_names_the_fields_that_change_a_feature():
    for family in FAMILIES:
        fields = FEATURE_FIELDS[family]
        known = tiny_backbone(family).to_dict()
        assert {name if name in known else FORMER_NAMES.get(name) for name in fields} <= set(known), family
    assert set(BACKBONES) <= set(FEATURE_FIELDS)


def test_models_that_are_not_known_here_are_hashed_by_what_is_no_default():
    config = ViTConfig(hidden_size=24, num_attention_heads=2)
    known = hash_settings(config, tiny_extractor())
    assert hash_settings(ViTConfig(hidden_size=48, num_attention_heads=2), tiny_extractor()) != known
    config.id2label, config.name_or_path = {0: "x", 1: "y", 2: "z"}, "elsewhere"
    assert hash_settings(config, tiny_extractor()) == known


def test_a_folder_that_has_gone_still_has_its_name(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "deep" / "down" / "bsp-gone")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "deep" / "down" / "bsp-gone", "./deep/down/bsp-gone"):
        model = AutoModel.from_pretrained(path)
        shutil.move(tmp_path / "deep", tmp_path / "away")
        assert describe_encoder(model, tiny_extractor())["id"] == "bsp-gone"
        shutil.move(tmp_path / "away", tmp_path / "deep")


OLD, NEW = "a" * 40, "b" * 40


def cache_revision(cache, model, commit, branch=None):
    """Write a model into the cache as the client does."""
    repository = cache / "models--org--tiny"
    model.save_pretrained(repository / "snapshots" / commit)
    if branch:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / branch).write_text(commit)
    return repository / "snapshots" / commit


@pytest.fixture
def two_revisions(tmp_path, monkeypatch):
    """A cache with two revisions of one repository that have the same weights; `v1` is the old one."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = randomize(BSPForBoundaryClassification(tiny_config()))
    cache_revision(tmp_path, model, OLD, branch="v1")
    cache_revision(tmp_path, model, NEW, branch="main")
    return tmp_path


@pytest.mark.parametrize("model_class", [AutoModel, BSPModel, BSPForBoundaryClassification])
@pytest.mark.parametrize(("revision", "commit"), [(None, NEW), ("main", NEW), ("v1", OLD), (OLD, OLD)])
def test_a_model_of_the_hub_is_named_by_the_revision_it_was_loaded_from(
    model_class, revision, commit, two_revisions
):
    pinned = {} if revision is None else {"revision": revision}
    model = model_class.from_pretrained("org/tiny", **pinned)
    record = describe_encoder(model, tiny_extractor())
    assert (record["id"], record["revision"]) == ("org/tiny", commit)
    assert loaded_revision(model) == loaded_revision(model.base_model) == commit
    assert describe_encoder(copy.deepcopy(model), tiny_extractor()) == record


def test_a_pipeline_names_the_revision_that_it_was_pinned_to(two_revisions):
    for revision, commit in (("v1", OLD), ("main", NEW)):
        extract = pipeline(
            "video-feature-extraction",
            model="org/tiny",
            revision=revision,
            feature_extractor=tiny_extractor(),
        )
        track = extract(np.zeros((8, 40, 40, 3), np.uint8), input_fps=25)
        assert track["encoder"]["revision"] == commit


def test_another_cache_and_a_subfolder_are_looked_into(two_revisions, tmp_path, monkeypatch):
    inside = cache_revision(two_revisions, randomize(BSPModel(tiny_config()), seed=2), NEW) / "encoder"
    randomize(BSPModel(tiny_config()), seed=3).save_pretrained(inside)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    model = BSPModel.from_pretrained("org/tiny", cache_dir=two_revisions, subfolder="encoder")
    assert describe_encoder(model, tiny_extractor())["revision"] == NEW


def test_a_model_that_was_trained_on_is_no_longer_its_revision(two_revisions):
    model = BSPModel.from_pretrained("org/tiny", revision="v1", dtype=torch.bfloat16)
    assert describe_encoder(model.float(), tiny_extractor())["revision"] == OLD
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert describe_encoder(model, tiny_extractor())["revision"].startswith("weights-")
    assert loaded_revision(model) == OLD  # what lies beside it still comes from there


def test_a_model_without_a_name_is_known_by_its_weights(two_revisions, folder):
    model = BSPModel.from_pretrained("org/tiny", revision="v1")
    assert describe_encoder(model, tiny_extractor())["revision"] == OLD
    model.name_or_path = ""
    assert describe_encoder(model, tiny_extractor())["revision"].startswith("weights-")
    assert loaded_revision(model) is None
    assert loaded_revision(BSPModel.from_pretrained(folder)) is None


def test_among_several_revisions_in_the_cache_the_weights_decide(tmp_path, monkeypatch):
    """For models of other classes, which do not remember what they were loaded from."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    first = cache_revision(tmp_path, randomize(BSPForBoundaryClassification(tiny_config())), OLD)
    pinned = BSPModel.from_pretrained(first)
    pinned.name_or_path = "org/tiny"
    assert describe_encoder(pinned, tiny_extractor())["revision"] == OLD  # the only one, and no branch has it

    newer = randomize(BSPForBoundaryClassification(tiny_config()), seed=1)
    second = cache_revision(tmp_path, newer, NEW, branch="main")
    for folder, commit in ((first, OLD), (second, NEW)):
        model = BSPModel.from_pretrained(folder, dtype=torch.bfloat16)
        model.name_or_path = "org/tiny"
        assert describe_encoder(model, tiny_extractor())["revision"] == commit
    with torch.no_grad():
        next(model.parameters()).add_(1)  # trained on since
    assert describe_encoder(model, tiny_extractor())["revision"].startswith("weights-")
