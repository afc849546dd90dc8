"""Video models as backbones: which tokens make the feature of a frame, and which clips they take."""

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from support.tiny import VIDEO_FAMILIES, random_clips, randomize, tiny_backbone, tiny_extractor
from transformers import AutoModel, pipeline

from bsp_hf import BSPConfig, BSPForBoundaryClassification, BSPModel, save_checkpoint_folder

TUBELET_FRAMES = {"videomae": 2, "timesformer": 1, "vivit": 2, "vjepa2": 2}


def tiny(family, **fields):
    return randomize(BSPModel(BSPConfig(backbone_config=tiny_backbone(family, **fields)))).eval()


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_a_frame_has_the_feature_of_the_tokens_that_cover_it(family):
    """Without layers, a token holds its own pixels only: what changes shows which frames it covers."""
    model = tiny(family, num_hidden_layers=0)
    clips, tubelet = random_clips(1, 8, 3, 32, 32), TUBELET_FRAMES[family]
    with torch.no_grad():
        before = model(clips).last_hidden_state[0]
        for frame in range(8):
            other = clips.clone()
            other[:, frame, :, 5, 5] += 1
            changed = (model(other).last_hidden_state[0] - before).abs().amax(1) > 1e-6
            first = frame // tubelet * tubelet
            assert changed.nonzero().flatten().tolist() == list(range(first, first + tubelet)), frame


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_features_are_means_of_the_tokens_of_the_model_as_it_is(family):
    encoder = tiny(family)
    original = AutoModel.from_config(tiny_backbone(family)).eval()
    original.load_state_dict(encoder.backbone.state_dict(), strict=False)
    clips = random_clips(2, 8, 3, 32, 32)
    with torch.no_grad():
        output = encoder(clips, output_hidden_states=True)
        tokens = original(clips).last_hidden_state
    if family in ("timesformer", "vivit"):  # a class token in front
        tokens = tokens[:, 1:]
    num_patches = 4
    for frame in range(8):
        step = frame // TUBELET_FRAMES[family]
        if family == "timesformer":  # place after place, each with all frames
            rows = [place * 8 + step for place in range(num_patches)]
        else:
            rows = [step * num_patches + place for place in range(num_patches)]
        mean = sum(tokens[:, row] for row in rows) / num_patches
        torch.testing.assert_close(output.last_hidden_state[:, frame], mean)
    torch.testing.assert_close(output.pooler_output, tokens.mean(1))
    assert all(states.ndim == 3 and states.shape[2] == 24 for states in output.hidden_states)


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_clips_of_another_length_or_size_are_refused_by_name(family):
    model = tiny(family)
    with pytest.raises(ValueError, match=rf"8 frames of 48x32 pixels, but this {family} takes .* of 32x32"):
        model(random_clips(1, 8, 3, 32, 48))
    takes = "a multiple of 2" if family == "vjepa2" else "8"
    with pytest.raises(
        ValueError, match=rf"clips of 7 frames .* takes {takes} frames.*num_frames and crop_size"
    ):
        model(random_clips(1, 7, 3, 32, 32))


def test_vjepa2_takes_clips_of_any_even_length():
    model = tiny("vjepa2")
    for num_frames in (2, 4, 12):
        assert model(random_clips(1, num_frames, 3, 32, 32)).last_hidden_state.shape == (1, num_frames, 24)


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_number_of_frames_is_that_of_the_video_model(family, tmp_path):
    name = "frames_per_clip" if family == "vjepa2" else "num_frames"
    backbone = tiny_backbone(family, **{name: 4})
    config = BSPConfig(backbone_config=backbone)
    assert config.num_frames == 4
    config.save_pretrained(tmp_path)
    assert BSPConfig.from_pretrained(tmp_path).num_frames == 4
    if family != "vjepa2":
        with pytest.raises(StrictDataclassError, match=r"num_frames=8, but .* of 4 frames"):
            BSPConfig(backbone_config=backbone, num_frames=8)


def test_vjepa2_may_be_used_on_other_clips_than_it_was_trained_on(tmp_path):
    config = BSPConfig(backbone_config=tiny_backbone("vjepa2", frames_per_clip=64), num_frames=8)
    config.save_pretrained(tmp_path)
    assert BSPConfig.from_pretrained(tmp_path).num_frames == 8
    with pytest.raises(StrictDataclassError, match="num_frames=7 is not a multiple"):
        BSPConfig(backbone_config=tiny_backbone("vjepa2"), num_frames=7)


def test_a_timesformer_that_sees_single_frames_is_refused():
    with pytest.raises(StrictDataclassError, match=r"space_only.*mixes no frames"):
        BSPConfig(backbone_config=tiny_backbone("timesformer", attention_type="space_only"))


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_published_encoder_extracts_features_of_a_video(family, videos, tmp_path):
    """Through our own preprocessing, V-JEPA 2 too, whose own needs torchvision."""
    model = randomize(BSPForBoundaryClassification(BSPConfig(backbone_config=tiny_backbone(family)))).eval()
    extractor = tiny_extractor(num_frames=8)
    save_checkpoint_folder(model, extractor, tmp_path)
    track = pipeline("video-feature-extraction", model=str(tmp_path))(str(videos["long"]), batch_size=2)
    assert (track["snippet_frames"], track["num_frames"], track["complete"]) == (8, 20, True)
    assert track["features"].shape == (3, 24)

    from bsp_hf import VideoReader

    with VideoReader(videos["long"]) as reader:
        frames = np.stack([frame.image for frame in reader])
    with torch.no_grad():
        expected = model.bsp(extractor(frames[:8], return_tensors="pt").pixel_values).pooler_output
    np.testing.assert_allclose(track["features"][0], expected[0], rtol=1e-5, atol=1e-5)
