"""The step pipeline finds, in seconds, what a linear layer set by hand tells apart."""

import numpy as np
import pytest
import torch
from support.tiny_localizers import tiny_localizer
from transformers import pipeline

STEP = "step-localization"


def test_the_bright_second_is_found(extract, encoder_folder, levels_video):
    """A linear layer that tells dark from bright, set by hand, finds what is bright, in seconds."""
    result = extract(levels_video)
    rows, centers_s = torch.from_numpy(result["features"]), result["centers_s"]
    bright = torch.from_numpy((centers_s > 1.1) & (centers_s < 1.9))
    dark = torch.from_numpy((centers_s < 0.9) | (centers_s > 2.1))
    direction = rows[bright].mean(0) - rows[dark].mean(0)
    middle = (rows[bright].mean(0) + rows[dark].mean(0)) / 2
    model = tiny_localizer("actionness")
    with torch.no_grad():
        scale = 8 / direction.square().sum()
        model.classifier.weight.copy_(direction[None] * scale)
        model.classifier.bias.copy_(-(direction @ middle)[None] * scale)
    find = pipeline(STEP, model=model, encoder=str(encoder_folder))
    (step,) = find(levels_video)
    assert step["label"] == "step" and step["score"] > 0.8
    assert (step["start_s"], step["end_s"]) == pytest.approx((1.0, 2.0), abs=0.2)
    found = find(levels_video, threshold=0.999999)
    assert found == [] and found.scores.shape == found.times_s.shape == (15,)
    np.testing.assert_allclose(found.times_s, np.arange(15) * 0.2 + 0.1)
