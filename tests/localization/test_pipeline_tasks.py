"""What each localization pipeline does by itself, against its parts put together by hand."""

import numpy as np
import pytest
import torch
from support.tiny_localizers import (
    SENTENCE,
    boundary_classifier,
    companions_of,
    tiny_encoder,
    tiny_extractor,
    tiny_localizer,
    tiny_track,
)
from transformers import pipeline

from bsp_hf import BSPForBoundaryClassification, save_checkpoint_folder, save_localizer_folder
from bsp_hf.features import rescale
from bsp_hf.localization.boundaries.response import boundary_response, pick_boundaries
from bsp_hf.localization.grounding.samples import average_rows
from bsp_hf.localization.gtad.decoding import decode_thumos
from bsp_hf.localization.gtad.targets import cut_windows, thumos_targets

GROUND, ACT, STEP = "video-grounding", "temporal-action-localization", "step-localization"


# --- actions -----------------------------------------------------------------------------------------------


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


def test_a_boundary_head_names_no_classes(tmp_path, levels_video):
    home = save_checkpoint_folder(boundary_classifier(), tiny_extractor(), tmp_path / "encoder")
    model = tiny_localizer("gtad", class_source="encoder")
    find = pipeline(ACT, model=str(save_localizer_folder(model, tmp_path / "gtad", encoder=home)))
    with pytest.raises(ValueError, match="needs an encoder with an action head"):
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


# --- moments -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ground(localizer_folders):
    return {kind: pipeline(GROUND, model=str(localizer_folders[kind])) for kind in ("tan", "lgi")}


@pytest.mark.parametrize("kind", ["tan", "lgi"])
def test_sentences_come_in_many_ways(ground, kind, extract, levels_video):
    find = ground[kind]
    one, other = find(levels_video, SENTENCE), find(levels_video, "a person")
    assert {moment["label"] for moment in one} == {SENTENCE}
    assert len(one) == (1 if kind == "lgi" else 5)
    assert one[0]["score"] != other[0]["score"] or one != other
    assert find(levels_video, [SENTENCE, "a person"]) == [one, other]
    assert find({"video": levels_video, "query": SENTENCE}) == one
    assert find([levels_video, levels_video], [SENTENCE, "a person"]) == [one, other]
    assert find([levels_video], SENTENCE) == [one]
    assert find(levels_video, SENTENCE, top_k=1) == one[:1]
    with pytest.raises(ValueError, match="2 videos and 1 sentences cannot be paired"):
        find([levels_video, levels_video], [SENTENCE])
    for wrong, message in ((None, "there is no sentence"), ([], "no sentence"), (" ", "holds no word")):
        with pytest.raises(ValueError, match=message):
            find(levels_video, wrong)


def test_a_moment_is_a_cell_of_the_map_in_seconds(ground, levels_video):
    find = ground["tan"]
    track = find.make_track(levels_video)
    rows = torch.from_numpy(average_rows(track.features, 16)[None])
    words = torch.from_numpy(find.reader.word_vectors.lookup(SENTENCE.split())[None])
    with torch.no_grad():
        maps = find.model(features=rows, word_vectors=words).probabilities[0].numpy()
    first, last = np.unravel_index(maps.argmax(), maps.shape)
    best = find(levels_video, SENTENCE)[0]
    assert best["score"] == pytest.approx(maps.max(), rel=1e-5)
    assert (best["start_s"], best["end_s"]) == pytest.approx((first * 3 / 8, (last + 1) * 3 / 8))


def test_what_reads_the_sentences_must_be_there(tmp_path, encoder_folder, levels_video):
    for kind, message in (("tan", r"no word_vectors\.npz lies beside it.*glove"), ("lgi", "vocabulary")):
        folder = save_localizer_folder(tiny_localizer(kind), tmp_path / kind, encoder=encoder_folder)
        with pytest.raises((ValueError, OSError), match=message):
            pipeline(GROUND, model=str(folder))([levels_video], SENTENCE)
    vectors = companions_of("tan")["word_vectors"]
    find = pipeline(GROUND, model=str(tmp_path / "tan"), word_vectors=vectors)
    assert len(find(levels_video, SENTENCE)) == 5


# --- steps -------------------------------------------------------------------------------------------------


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


# --- boundaries --------------------------------------------------------------------------------------------


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
    assert [one["time_s"] for one in found] == pytest.approx(expected.tolist()) and len(found) > 1
    np.testing.assert_allclose(found.scores, response.response, atol=1e-5)
    np.testing.assert_allclose(found.times_s, response.times_s, atol=1e-9)
    for one in found:
        assert one["end_s"] - one["start_s"] == pytest.approx(4 / 25)
        assert one["label"] in ("diff-class", "same-class", "diff-speed") and one["score"] >= threshold
    kinds = boundaries(levels_video, threshold=0.0, kinds=["diff-speed"])
    assert {one["label"] for one in kinds} == {"diff-speed"}
    with pytest.raises(ValueError, match=r"kinds=\['fade'\] are none of"):
        boundaries(levels_video, kinds=["fade"])


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
