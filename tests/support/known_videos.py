"""What the rendered videos of the pipeline's tests hold, and what the encoder makes of it."""

import numpy as np
import torch

from support.rendered import numbered_picture
from support.tiny import tiny_extractor

TASK = "video-feature-extraction"
SIZE = (48, 40)
KEYS = ["features", "centers_s", "fps", "snippet_frames", "stride_frames", "num_frames", "duration_s"]
KEYS += ["encoder", "complete", "error"]


def pictures(num_frames: int) -> np.ndarray:
    """The first pictures of each of these videos."""
    return np.stack([numbered_picture(k, *SIZE) for k in range(num_frames)])


def features_of(extract, rows: list[list[int]]) -> np.ndarray:
    """What the model makes of the pictures with these numbers, one list a snippet."""
    model, extractor = extract.model, tiny_extractor()
    with torch.no_grad():
        clips = [extractor(np.stack([numbered_picture(k, *SIZE) for k in row]), "pt") for row in rows]
        return torch.cat([model(clip["pixel_values"]).pooler_output for clip in clips]).numpy()


def assert_same(result, expected):
    """Two results agree: arrays up to the order of summation, everything else exactly."""
    assert result.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(result[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
        else:
            assert result[key] == value, key
