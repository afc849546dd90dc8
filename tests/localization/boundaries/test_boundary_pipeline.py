"""The boundary pipeline, against the classifier slid over the video by hand."""

import copy
import pickle

import numpy as np
import pytest
import torch
from support.tiny_localizers import boundary_classifier, render_levels, tiny_encoder, tiny_extractor
from transformers import pipeline

from bsp_hf import BSPForBoundaryClassification, VideoReader, save_checkpoint_folder
from bsp_hf.localization.boundaries.pipeline import _describe
from bsp_hf.localization.boundaries.response import BoundaryResponse, boundary_response, pick_boundaries
from bsp_hf.localization.boundaries.transitions import SeenTransitions


@pytest.fixture(scope="module")
def boundaries(tmp_path_factory):
    folder = save_checkpoint_folder(
        boundary_classifier(), tiny_extractor(), tmp_path_factory.mktemp("b") / "b"
    )
    return pipeline("video-boundary-detection", model=str(folder))


def test_boundaries_are_those_of_the_classifier_slid_over_the_video(boundaries, levels_video):
    response = boundary_response(boundaries.model, boundaries.feature_extractor, levels_video)
    threshold = float(np.quantile(response.response, 0.6))
    expected = pick_boundaries(response, threshold, min_gap_s=0.3)
    found = boundaries(levels_video, threshold=threshold, min_gap_s=0.3)
    is_cut = np.isin(expected, response.times_s[response.cuts])
    times_s = np.array([one["time_s"] for one in found])
    assert times_s[~is_cut] == pytest.approx(expected[~is_cut].tolist()) and len(found) > 1
    # A cut is at the first frame behind it, a window in the middle of one.
    assert times_s[is_cut] == pytest.approx(expected[is_cut], abs=0.51 / 25) and is_cut.any()
    np.testing.assert_allclose(found.scores, response.response, atol=1e-5)
    np.testing.assert_allclose(found.times_s, response.times_s, atol=1e-9)
    for one in found:
        assert one["end_s"] - one["start_s"] == pytest.approx(4 / 25)
        assert one["label"] in ("cut", "gradual", "action", "pace") and one["score"] >= threshold
    every = boundaries(levels_video, threshold=0.0)
    for kind in {one["label"] for one in every}:
        chosen = boundaries(levels_video, threshold=0.0, kinds=[kind])
        assert chosen == [one for one in every if one["label"] == kind]
    boundaries.model.config.boundary_threshold = threshold
    assert boundaries(levels_video, min_gap_s=0.3) == found  # the classifier's own
    boundaries.model.config.boundary_threshold = 0.5
    with pytest.raises(ValueError, match=r"kinds=\['fade'\] are none of"):
        boundaries(levels_video, kinds=["fade"])


def test_the_response_is_that_of_each_window_alone(boundaries, levels_video):
    with VideoReader(levels_video) as video:
        frames = np.stack([frame.image for frame in video])
    pixel_values = boundaries.feature_extractor(list(frames), return_tensors="pt")["pixel_values"][0]
    with torch.inference_mode():
        windows = torch.stack([pixel_values[k : k + 4] for k in range(len(frames) - 3)])
        expected = 1 - boundaries.model(windows).logits.softmax(-1)[:, 3]
    found = boundaries(levels_video, find_cuts=False, batch_size=7)
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)
    assert found.skipped_s == []


def test_the_classifier_is_made_ready_once_and_anew_for_other_weights(boundaries, levels_video):
    find = copy.deepcopy(boundaries)
    found = find(levels_video, find_cuts=False)
    ready = find._fast
    find(levels_video, find_cuts=False)
    assert find._fast is ready
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(find))(levels_video).times_s, found.times_s)
    with torch.no_grad():
        next(find.model.parameters()).mul_(2)
    changed = find(levels_video, find_cuts=False)
    assert find._fast is not ready and np.abs(changed.scores - found.scores).max() > 1e-3


def test_coarse_to_fine_leaves_out_what_is_quiet_and_names_it(boundaries, levels_video):
    dense, coarse = (boundaries(levels_video, threshold=1.0, coarse_to_fine=on) for on in (False, True))
    assert coarse == dense and len(dense) == 2
    is_encoded = np.isfinite(coarse.scores)
    assert is_encoded.any() and coarse.times_s.tolist() == dense.times_s.tolist()
    np.testing.assert_allclose(coarse.scores[is_encoded], dense.scores[is_encoded], atol=1e-6)
    assert len(coarse.skipped_s) == 3 and coarse.skipped_s[0][0] == dense.times_s[0]
    for first_s, last_s in coarse.skipped_s:
        assert not is_encoded[(coarse.times_s >= first_s) & (coarse.times_s <= last_s)].any()
    # The curve has a gap in each.
    assert dense._repr_html_().count("<polyline") == 1 and coarse._repr_html_().count("<polyline") == 2


def test_an_answer_that_is_not_finite_fails_that_video(boundaries, levels_video):
    model = copy.deepcopy(boundaries.model)
    with torch.no_grad():
        model.classifier.bias[0] = torch.nan
    find = pipeline("video-boundary-detection", model=model, feature_extractor=boundaries.feature_extractor)
    with pytest.raises(ValueError, match=r"levels\.mp4: the classifier's answer is not finite in 72 of 72"):
        find(levels_video)
    (found,) = find([levels_video])
    assert found == [] and "float32" in found.error and found.complete is False


def test_boundaries_of_a_list_and_of_what_is_too_short(boundaries, levels_video, broken_video, tiny_video):
    first, broken, short = boundaries([levels_video, broken_video, tiny_video])
    assert first == boundaries(levels_video) and (first.video_id, first.error) == ("levels", None)
    assert broken == [] and "broken.mp4" in broken.error
    assert short == [] and short.error == "the video is shorter than one window of 4 frames."


def test_a_model_that_tells_no_boundaries_apart_is_refused(encoder_folder):
    with pytest.raises(ValueError, match=r"saved as BSPModel\. Pre-train one"):
        pipeline("video-boundary-detection", model=str(encoder_folder))
    other = tiny_encoder(BSPForBoundaryClassification, id2label={0: "bow", 1: "sit"})
    with pytest.raises(ValueError, match=r"it knows \['bow', 'sit'\]"):
        pipeline("video-boundary-detection", model=other, feature_extractor=tiny_extractor())


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])  # sought, and read from the start
def test_a_cut_is_named_and_placed_as_the_pictures_show_it(boundaries, tmp_path, suffix):
    path = render_levels(tmp_path / f"levels{suffix}", [20, 200, 60])
    found = boundaries(path, threshold=1.0)
    assert [(one["label"], one["score"]) for one in found] == [("cut", 1.0)] * 2
    assert [one["time_s"] for one in found] == pytest.approx([25 / 25, 50 / 25])
    alone = boundaries(path, threshold=0.0, find_cuts=False)
    assert max(alone.scores) < 1 and {one["label"] for one in alone} <= {"action", "pace"}
    assert boundaries(path, threshold=1.0, kinds=["pace"]) == []


def test_the_encoder_names_what_the_pictures_do_not_show(boundaries):
    response = BoundaryResponse(
        np.arange(3) / 25,
        np.array([[0.6, 0.1, 0.2, 0.1], [0.1, 0.6, 0.2, 0.1], [0.1, 0.2, 0.6, 0.1]]),
        np.full(3, 0.9),
        *(4 / 25, 1.0),
    )
    numbers = {"diff-class": 0, "same-class": 1, "diff-speed": 2, "same-speed": 3}

    def name(row, seen=SeenTransitions()):  # noqa: B008
        return _describe(response, row, seen, numbers, 25)["label"]

    assert [name(row) for row in range(3)] == ["action", "action", "pace"]
    seen = SeenTransitions(gradual_s=(0.02,))
    assert [name(row, seen) for row in range(3)] == ["gradual", "gradual", "pace"]


@pytest.mark.parametrize(
    ("history", "said"),
    [
        (None, "no accuracy on held-out clips is recorded"),
        (
            [{"step": 9, "eval_accuracy": 0.7}, {"step": 9, "eval_accuracy": 0.3}],
            "is 0.30, near chance (0.25)",
        ),
        ([{"step": 9, "eval_accuracy": 0.3}, {"step": 9, "eval_accuracy": 0.7}], None),
    ],
)
def test_an_encoder_that_knows_no_better_than_chance_is_warned_of_once(tmp_path, caplog, history, said):
    record = None if history is None else {"history": history}
    folder = save_checkpoint_folder(boundary_classifier(), tiny_extractor(), tmp_path / "encoder", record)
    for _ in range(2):
        pipeline("video-boundary-detection", model=str(folder))
    lines = [one.getMessage() for one in caplog.records if "held-out" in one.getMessage()]
    assert len(lines) == (said is not None)
    assert said is None or (lines[0].startswith("encoder: ") and said in lines[0])


def test_the_packaged_encoder_is_trained(caplog):
    pipeline("video-boundary-detection")
    assert "held-out" not in caplog.text
