"""Windows that share frames are encoded as each alone would be, their shared part once a frame."""

import numpy as np
import pytest
import torch
from support.tiny import IMAGE_FAMILIES, random_clips, randomize, tiny_backbone, tiny_extractor

from bsp_hf import BSPConfig, BSPModel
from bsp_hf.encoder.snippets import iter_snippets
from bsp_hf.encoder.video_records import Frame
from bsp_hf.features.engine.fast_encoder import prepare_encoder
from bsp_hf.features.engine.overlapping import collect_frames, encode_overlapping, shares_frames

NUM_FRAMES = 21


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        *((family, {}) for family in IMAGE_FAMILIES),
        ("resnet", {"shift_place": "none"}),
        ("resnet", {"shift_place": "block", "shift_blocks": [2, 4]}),
        ("efficientnet-lite", {"shift_blocks": [5, 6]}),
    ],
)
@pytest.mark.parametrize("stride_frames", [1, 3, 11])
def test_overlapping_windows_have_the_features_of_each_alone(family, fields, stride_frames):
    model = randomize(BSPModel(BSPConfig(backbone_config=tiny_backbone(family), **fields))).eval()
    encoder = prepare_encoder(model, tiny_extractor(), torch.float32, torch.device("cpu"))
    assert shares_frames(encoder) and not shares_frames(torch.nn.Linear(1, 1))
    pixels = random_clips(NUM_FRAMES, 3, 32, 40)
    timed = [Frame(number, number / 10, number) for number in range(NUM_FRAMES)]
    windows = list(iter_snippets(timed, 8, stride_frames, frame_duration_s=0.1, padding="repeat"))
    del windows[1:3]  # as where windows were skipped
    numbers, places = collect_frames(windows)
    assert len(set(numbers)) == len(numbers)
    calls = []
    encoder.family.stem(encoder.backbone).register_forward_pre_hook(lambda _, given: calls.append(given[0]))
    with torch.inference_mode():
        expected = model(torch.stack([pixels[list(window.images)] for window in windows])).last_hidden_state
        found = encode_overlapping(encoder, pixels[numbers], places)
    assert [len(given) for given in calls] == [len(numbers)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
