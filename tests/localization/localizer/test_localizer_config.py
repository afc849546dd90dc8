"""What the localizers' configs say about their features: saved and checked."""

import pytest
from huggingface_hub.errors import StrictDataclassError

from bsp_hf.features import EncoderRecord
from bsp_hf.localization.actionness.configuration_actionness import ActionnessConfig
from bsp_hf.localization.gtad.configuration_gtad import GTADConfig
from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.tan.configuration_tan import TANConfig

CONFIGS = [GTADConfig, TANConfig, LGIConfig, ActionnessConfig]
RECORD = EncoderRecord("bsp", "weights-0123", "abcd", "float32")


@pytest.mark.parametrize("config_class", CONFIGS)
def test_the_encoder_survives_saving(config_class, tmp_path):
    joined = EncoderRecord.join([RECORD, EncoderRecord.named("i3d")])
    config_class(encoder=joined.to_dict(), feature_fps=29.97, feature_stride_frames=5).save_pretrained(
        tmp_path
    )
    loaded = config_class.from_pretrained(tmp_path)
    assert EncoderRecord.from_dict(loaded.encoder) == joined
    assert (loaded.feature_fps, loaded.feature_stride_frames) == (29.97, 5)


@pytest.mark.parametrize("config_class", CONFIGS)
def test_nothing_is_said_by_default(config_class):
    config = config_class()
    assert (config.encoder, config.encoder_copy, config.feature_fps) == (None, None, None)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"encoder": {"id": "bsp"}}, "encoder lacks revision, settings_hash, dtype"),
        ({"encoder_copy": {**RECORD.to_dict(), "id": 3}}, "encoder.id must be text"),
        ({"feature_fps": 0}, "feature_fps=0 must be between"),
        ({"feature_stride_frames": -1}, "feature_stride_frames=-1 must be at least 1"),
        ({"time_axis": "tiles"}, "time_axis='tiles' is not one of rescaled, windows"),
        ({"class_source": "guess"}, "class_source='guess'"),
    ],
)
def test_bad_fields_are_named(fields, match):
    with pytest.raises(StrictDataclassError, match=match):
        GTADConfig(**fields)


@pytest.mark.parametrize(
    ("config_class", "labels", "expected"),
    [
        (GTADConfig, {}, {0: "action"}),
        (ActionnessConfig, {}, {0: "step"}),
        (GTADConfig, {"id2label": {0: "dive", 1: "jump"}}, {0: "dive", 1: "jump"}),
        (GTADConfig, {"num_labels": 2}, {0: "LABEL_0", 1: "LABEL_1"}),
    ],
)
def test_label_names_survive_saving(config_class, labels, expected, tmp_path):
    config = config_class(**labels)
    config.save_pretrained(tmp_path)
    assert config.id2label == config_class.from_pretrained(tmp_path).id2label == expected


def test_presets_say_how_a_video_meets_the_time_axis():
    assert (GTADConfig.activitynet().time_axis, GTADConfig.thumos14().time_axis) == ("rescaled", "windows")
