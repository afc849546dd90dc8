"""The configuration: defaults, checks, nested backbones, and what survives saving."""

import json

import pytest
from huggingface_hub.errors import StrictDataclassError
from support.tiny import tiny_config
from transformers import AutoConfig, RegNetConfig, ResNetConfig

from bsp_hf import BoundaryType, BSPConfig
from bsp_hf.encoder.configuration_bsp import RESNET_VARIANTS


def test_default_is_tsm_resnet50_on_eight_frames_with_the_four_boundary_types():
    config = BSPConfig()
    assert (config.num_frames, config.shift_div, config.shift_place) == (8, 8, "blockres")
    assert list(config.backbone_config.depths) == [3, 4, 6, 3]
    assert config.backbone_config.layer_type == "bottleneck"
    assert config.hidden_size == 2048
    assert config.id2label == {0: "diff-class", 1: "same-class", 2: "diff-speed", 3: "same-speed"}
    assert config.label2id == {"diff-class": 0, "same-class": 1, "diff-speed": 2, "same-speed": 3}
    assert config.num_labels == len(BoundaryType) == 4


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"num_labels": 2}, ["LABEL_0", "LABEL_1"]),
        ({"num_labels": 4}, ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]),
        ({"id2label": {0: "jump", 1: "run", 2: "walk"}}, ["jump", "run", "walk"]),
    ],
)
def test_other_classes_replace_the_boundary_types(fields, names, tmp_path):
    config = tiny_config(**fields)
    assert list(config.id2label.values()) == names
    config.save_pretrained(tmp_path)
    loaded = BSPConfig.from_pretrained(tmp_path)
    assert loaded.id2label == config.id2label
    assert loaded.label2id == config.label2id


@pytest.mark.parametrize("name", RESNET_VARIANTS)
def test_backbones_have_their_usual_names(name):
    expected = {"resnet18": 512, "resnet34": 512, "resnet50": 2048, "resnet101": 2048}
    config = BSPConfig.from_backbone_name(name, num_frames=16)
    assert config.hidden_size == expected[name]
    assert config.num_frames == 16
    assert sum(config.backbone_config.depths) == {"resnet18": 8, "resnet34": 16, "resnet50": 16}.get(name, 33)


def test_unknown_backbone_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'vgg16' is unknown; choose one of resnet18, .*resnet101"):
        BSPConfig.from_backbone_name("vgg16")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_frames": 0}, "num_frames=0 must be at least 1"),
        ({"shift_div": 1}, "shift_div=1 must be at least 2"),
        ({"shift_place": "inplace"}, "shift_place='inplace' is not one of blockres, block, none"),
        ({"classifier_dropout": 1.0}, r"classifier_dropout=1.0 must be in \[0, 1\)"),
        ({"classifier_dropout": -0.1}, "classifier_dropout=-0.1"),
        ({"num_frames": "8"}, "num_frames"),
    ],
)
def test_bad_fields_are_refused_by_name(fields, message):
    with pytest.raises((StrictDataclassError, ValueError), match=message):
        tiny_config(**fields)


def test_backbone_may_be_a_config_a_dict_or_a_dict_without_its_type():
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    for backbone in (ResNetConfig(**sizes), sizes, {"model_type": "resnet", **sizes}):
        config = BSPConfig(backbone_config=backbone)
        assert isinstance(config.backbone_config, ResNetConfig)
        assert config.hidden_size == 16
    regnet = BSPConfig(backbone_config={"model_type": "regnet", "hidden_sizes": [8, 24], "depths": [1, 1]})
    assert isinstance(regnet.backbone_config, RegNetConfig)
    assert regnet.hidden_size == 24


def test_unknown_backbone_type_is_refused():
    with pytest.raises(ValueError, match="model_type='resnest'"):
        BSPConfig(backbone_config={"model_type": "resnest"})


def test_saved_config_comes_back_equal_through_auto_config(tmp_path):
    config = tiny_config(num_frames=4, shift_div=4, shift_place="block", classifier_dropout=0.1)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is BSPConfig
    origin = {"_name_or_path": loaded.name_or_path, "transformers_version": loaded.transformers_version}
    assert loaded.to_dict() == config.to_dict() | origin
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "bsp"


def test_runtime_settings_never_enter_the_config():
    saved = tiny_config().to_dict()
    assert not {"device", "batch_size", "num_workers"} & set(saved)


def test_registered_code_drops_the_custom_pipeline_that_would_ask_for_trust():
    config = tiny_config(custom_pipelines={"video-feature-extraction": {"impl": "a.B", "pt": ["AutoModel"]}})
    assert not hasattr(config, "custom_pipelines")
