"""Decoding of maps into segments against golden vectors and a brute force written here."""

import numpy as np
import pytest
import torch
from support.suppression import soft_nms

from bsp_hf.localization.gtad.configuration_gtad import GTADConfig
from bsp_hf.localization.gtad.decoding import boundary_candidates, decode_activitynet, decode_thumos, propose
from bsp_hf.localization.gtad.modeling_gtad import GTADForTemporalActionLocalization


def small_config(**changes):
    return GTADConfig(feature_dim=8, num_steps=8, max_duration=5, **changes)


def test_activitynet_inference_matches_the_reference(golden):
    case = golden("gtad/postprocess_anet")
    videos = case.meta["config"]["videos"]
    arrays = [[case.inputs[f"{name}{n}"] for n in (0, 1)] for name in ("map", "start", "end")]
    for n in (0, 1):
        found = propose(*(array[n] for array in arrays))
        columns = [found.steps / 100, found.classification[:, None], found.regression[:, None]]
        case.check(f"proposals{n}", np.hstack(columns))
        kept, scores = soft_nms(found.steps / 100, found.scores, 0.8, 100)
        case.check(f"softnms{n}", np.column_stack([found.steps[kept] / 100, scores]))
    detections = decode_activitynet(
        *map(np.stack, arrays),
        durations_s=[video["duration_second"] for video in videos],
        config=GTADConfig.activitynet(),
        class_scores=[case.inputs[f"class_scores{n}"] for n in (0, 1)],
    )
    for n, found in enumerate(detections):
        rows = np.column_stack([found.class_indices, found.segments, found.scores])
        case.check(f"detections{n}", rows)


def test_boundary_candidates_by_hand():
    start, end = boundary_candidates([0.9, 0.2, 0.3, 0.1, 0.1, 0.5], [0.1, 0.4, 0.4, 0.39, 0.1, 0.1])
    # Starts: the first step, the strict peak at 2; 0.5 at the outermost step does not count.
    assert np.flatnonzero(start).tolist() == [0, 2]
    # Ends: 1 to 3 exceed half the maximum, the plateau is no strict peak; the last step always counts.
    assert np.flatnonzero(end).tolist() == [1, 2, 3, 5]


def test_ungated_proposals_are_all_anchors_that_end_before_the_last_step():
    maps = np.random.default_rng(0).random((2, 5, 8))
    found = propose(torch.from_numpy(maps))
    expected = [(i, i + j + 1) for j in range(5) for i in range(8) if i + j + 1 < 8]
    assert [tuple(steps) for steps in found.steps] == expected
    np.testing.assert_allclose(found.classification, [maps[1, e - s - 1, s] for s, e in expected])
    np.testing.assert_allclose(found.scores, [maps[:, e - s - 1, s].prod() for s, e in expected])


def test_single_proposal_survives_although_suppression_drops_the_last():
    maps = np.full((1, 2, 5, 8), 0.5)
    start, end = np.zeros((1, 8)), np.zeros((1, 8))
    start[0, 3], end[0, 0] = 1.0, 1.0  # only end candidate: the peak outside 1..6 and the last step
    end[0, 5] = 0.6
    found = decode_activitynet(maps, start, end, [16.0], small_config())[0]
    # Starts 0 and 3, ends 5 and 7; within five steps: (0, 5), (3, 5), (3, 7).
    assert len(found) == 2
    end[0, 5] = 0.0
    found = decode_activitynet(maps, start, end, [16.0], small_config())[0]
    assert found.segments.tolist() == [[6.0, 14.0]]
    assert found.scores.tolist() == [0.25]
    assert found.class_indices.tolist() == [-1]


def test_thumos_inference_equals_its_steps():
    rng = np.random.default_rng(3)
    maps, first_frames, fps, num_frames = rng.random((3, 2, 6, 12)), [0, 30, 65], 29.97, 110
    classes = rng.random(20)
    config = GTADConfig.thumos14(
        feature_dim=8, num_steps=12, max_duration=6, max_proposals=15, max_segment_frames=25
    )
    frames, scores = [], []
    for window, first in zip(maps, first_frames, strict=True):
        spans = [(i, i + j + 1) for j in range(6) for i in range(12) if i + j + 1 < 12]
        segments = np.array(spans) * 5.0 + first
        products = np.array([window[0, e - s - 1, s] * window[1, e - s - 1, s] for s, e in spans])
        kept, decayed = soft_nms(segments, products, 0.46, 15, zero_length=25)
        frames.append(segments[kept])
        scores.append(decayed)
    frames, scores = np.concatenate(frames), np.concatenate(scores)
    kept, scores = soft_nms(frames, scores, 0.46, 15, zero_length=25)
    expected = []
    for (start, end), score in sorted(
        zip(frames[kept].tolist(), scores, strict=True), key=lambda row: -row[1]
    ):
        for label in np.argsort(classes)[::-1][:2]:
            times = [round(min(time, num_frames) / fps, 1) for time in (start, end)]
            expected.append([label, *times, round(score * classes[label], 6)])
    found = decode_thumos(maps, first_frames, fps, num_frames, config, classes)
    got = np.column_stack([found.class_indices, found.segments, found.scores])
    np.testing.assert_allclose(got, expected, atol=1e-9)
    assert (found.segments[:, 1] - found.segments[:, 0]).max() < 25 / fps + 0.1


def test_videos_are_decoded_alike_alone_and_together():
    rng = np.random.default_rng(5)
    maps, start, end = rng.random((3, 2, 5, 8)), rng.random((3, 8)), rng.random((3, 8))
    together = decode_activitynet(maps, start, end, [5.0, 6.0, 7.0], small_config())
    for n, found in enumerate(together):
        alone = decode_activitynet(
            maps[n : n + 1], start[n : n + 1], end[n : n + 1], [5.0 + n], small_config()
        )[0]
        np.testing.assert_array_equal(found.segments, alone.segments)
        np.testing.assert_array_equal(found.scores, alone.scores)


def test_model_output_decodes_to_segments_inside_the_video():
    model = GTADForTemporalActionLocalization(small_config(hidden_dim=16)).eval()
    with torch.no_grad():
        output = model(torch.randn(2, 8, 8))
    for found in decode_activitynet(output.iou_map, output.start, output.end, [3.0, 30.0], model.config):
        assert len(found) > 0
        assert (found.segments >= 0).all() and (found.segments <= 30.0).all()
        assert (np.diff(found.segments) > 0).all()
        assert (np.diff(found.scores) <= 0).all()


def test_disagreeing_inputs_are_named():
    config, curve = small_config(), np.zeros((1, 8))
    with pytest.raises(ValueError, match="must agree"):
        decode_activitynet(np.zeros((1, 2, 5, 8)), curve, curve, [1.0, 2.0], config)
    with pytest.raises(ValueError, match="must agree"):
        decode_thumos(np.zeros((1, 2, 5, 8)), [0, 5], 25.0, 100, config)
    with pytest.raises(ValueError, match="fps=0"):
        decode_thumos(np.zeros((1, 2, 5, 8)), [0], 0, 100, config)
    with pytest.raises(ValueError, match="both start and end"):
        propose(np.zeros((2, 5, 8)), start=curve[0])
    with pytest.raises(ValueError, match="2, max_duration, num_steps"):
        propose(np.zeros((5, 8)))
