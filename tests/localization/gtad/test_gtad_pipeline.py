"""The action pipeline, against its parts put together by hand."""

import numpy as np
import pytest
import torch
from support.tiny_localizers import (
    boundary_classifier,
    tiny_encoder,
    tiny_extractor,
    tiny_localizer,
    tiny_track,
    tiny_two_head_encoder,
)
from transformers import pipeline

from bsp_hf import BSPForBoundaryClassification, save_checkpoint_folder, save_localizer_folder
from bsp_hf.features import rescale
from bsp_hf.localization.gtad.decoding import decode_thumos
from bsp_hf.localization.gtad.targets import cut_windows, thumos_targets

ACT = "temporal-action-localization"


def test_the_best_two_classes_multiply_into_the_scores():
    model = tiny_localizer("gtad", id2label={0: "dive", 1: "jump", 2: "run"})
    find = pipeline(ACT, model=model)
    plain = find(tiny_track())
    assert {segment["label"] for segment in plain} == {"action"}
    named = find(tiny_track(), class_scores=[0.1, 0.6, 0.3])
    assert len(named) == 2 * len(plain)
    assert {segment["label"] for segment in named} == {"jump", "run"}
    assert named[0]["score"] == pytest.approx(0.6 * plain[0]["score"])
    assert find(tiny_track(), class_scores={"jump": 0.6, "run": 0.3}) == named
    assert find({"video": tiny_track(), "class_scores": [0.1, 0.6, 0.3]}) == named
    kept = find(tiny_track(), top_k=3, threshold=plain[1]["score"])
    assert kept == plain[:2]
    for wrong in ([0.1, 0.9], [0.1, -0.6, 0.3], [np.nan, 0, 0]):
        with pytest.raises(ValueError, match="class_scores"):
            find(tiny_track(), class_scores=wrong)


def test_an_action_head_of_the_encoder_names_the_classes(tmp_path, levels_video):
    encoder = tiny_encoder(BSPForBoundaryClassification, id2label={0: "bow", 1: "sit", 2: "wave"})
    home = save_checkpoint_folder(encoder, tiny_extractor(), tmp_path / "encoder")
    model = tiny_localizer("gtad", class_source="encoder")
    find = pipeline(ACT, model=str(save_localizer_folder(model, tmp_path / "gtad", encoder=home)))
    rows = torch.from_numpy(find.make_track(levels_video).features)
    expected = encoder.classifier(rows).softmax(1).mean(0)
    found = find(levels_video)
    assert found[0]["label"] == encoder.config.id2label[int(expected.argmax())]
    assert len({segment["label"] for segment in found}) == 2
    find.save_pretrained(tmp_path / "again")  # the head goes along
    assert pipeline(ACT, model=str(tmp_path / "again"))(levels_video) == found


def test_the_action_head_of_a_two_head_encoder_names_the_classes(tmp_path, levels_video):
    encoder = tiny_two_head_encoder(["bow", "sit", "wave"])
    home = save_checkpoint_folder(encoder, tiny_extractor(), tmp_path / "encoder")
    model = tiny_localizer("gtad", class_source="encoder")
    find = pipeline(ACT, model=str(save_localizer_folder(model, tmp_path / "gtad", encoder=home)))
    rows = torch.from_numpy(find.make_track(levels_video).features)
    expected = encoder.action_classifier(rows).softmax(1).mean(0)
    found = find(levels_video)
    assert found[0]["label"] == ["bow", "sit", "wave"][int(expected.argmax())]
    assert {segment["label"] for segment in found} <= {"bow", "sit", "wave"}
    with torch.no_grad():  # the other head is never asked
        find.encoders[0].model.classifier.weight.fill_(float("nan"))
    assert find(levels_video) == found


def test_a_boundary_head_names_no_classes(tmp_path, levels_video):
    home = save_checkpoint_folder(boundary_classifier(), tiny_extractor(), tmp_path / "encoder")
    model = tiny_localizer("gtad", class_source="encoder")
    find = pipeline(ACT, model=str(save_localizer_folder(model, tmp_path / "gtad", encoder=home)))
    with pytest.raises(ValueError, match="needs one encoder with an action head"):
        find(levels_video)


def test_a_long_track_is_read_in_windows():
    model = tiny_localizer("gtad", time_axis="windows", max_segment_frames=300)
    track = tiny_track(num_rows=40)
    windows = cut_windows(track, 12)
    # The first step lies in the middle of the first snippet of four frames; a window moves by six rows.
    assert windows.first_frames[:3] == (2, 14, 26)
    assert windows.first_snippets == (0, 6, 12, 18, 24)  # four rows left over make no window, as published
    with torch.no_grad():
        maps = torch.cat([model(torch.from_numpy(window[None])).iou_map for window in windows.features])
    expected = decode_thumos(
        maps, windows.first_frames, 25.0, track.record.num_frames, model.config, stride_frames=2
    )
    found = pipeline(ACT, model=model)(track)
    assert len(found) == len(expected) > 5
    # Times are rounded to 0.1 s as published; equal scores may swap.
    got = sorted((segment["start_s"], segment["end_s"], segment["score"]) for segment in found)
    wanted = sorted((*span, score) for span, score in zip(expected.segments, expected.scores, strict=True))
    np.testing.assert_allclose(got, wanted, atol=2e-6)
    with pytest.raises(ValueError, match="were rescaled"):
        cut_windows(rescale(track, 30), 12)


def test_targets_and_windows_agree_about_where_a_step_lies():
    """An instance that begins in the middle of row 5 starts at step 5."""
    track = tiny_track(num_rows=12)
    (first_frame,) = cut_windows(track, 12).first_frames
    begin, end = (track.centers_s[[5, 9]] * 25).tolist()
    targets = thumos_targets([[begin, end]], first_frame, num_steps=12, max_duration=8, stride_frames=2)
    assert targets.start.argmax() in (4, 5) and targets.start[5] == 1
    assert targets.end[9] == 1
