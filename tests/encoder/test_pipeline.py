"""`pipeline("video-feature-extraction")`: every input, what comes out, and the times of the rows."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from support.known_videos import KEYS, SIZE, TASK, assert_same, features_of, pictures
from support.rendered import render_video
from support.tiny import tiny_extractor
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from bsp_hf import BSPForBoundaryClassification, BSPModel, ExtractionEngine, VideoDecodeError

# --- the result --------------------------------------------------------------------------------------------


def test_result_has_the_documented_keys_types_and_shapes(extract, videos, checkpoint):
    result = extract(str(videos["long"]))
    assert list(result) == KEYS
    features, centers_s = result["features"], result["centers_s"]
    assert (features.dtype, features.shape) == (np.float32, (3, 32))
    assert (centers_s.dtype, centers_s.shape) == (np.float64, (3,))
    assert features.flags.c_contiguous
    assert (result["fps"], result["snippet_frames"], result["stride_frames"]) == (25.0, 8, 8)
    assert [type(result[key]) for key in KEYS[2:7]] == [float, int, int, int, float]
    assert result["num_frames"] == 20
    assert result["duration_s"] == pytest.approx(20 / 25)
    assert result["complete"] is True
    assert result["error"] is None
    assert result["encoder"].keys() == {"id", "revision", "settings_hash", "dtype"}
    assert result["encoder"]["id"] == checkpoint.name


def test_rows_are_the_models_features_of_the_right_pictures(extract, videos):
    result = extract(videos["long"])
    rows = [list(range(0, 8)), list(range(8, 16)), [16, 17, 18, 19, 19, 19, 19, 19]]
    np.testing.assert_allclose(result["features"], features_of(extract, rows), rtol=1e-4, atol=1e-5)


def test_tensors_are_returned_where_they_are_asked_for(extract, videos):
    arrays, tensors = extract(videos["long"]), extract(videos["long"], return_tensors=True)
    for key in ("features", "centers_s"):
        assert isinstance(tensors[key], torch.Tensor)
        np.testing.assert_array_equal(tensors[key].numpy(), arrays[key])
    assert tensors["features"].dtype == torch.float32
    assert tensors["centers_s"].dtype == torch.float64


def test_a_model_with_a_head_gives_the_encoders_features(checkpoint, extract, videos):
    model = BSPForBoundaryClassification.from_pretrained(checkpoint)
    with_head = pipeline(TASK, model=model, feature_extractor=tiny_extractor())
    result = with_head(videos["long"])
    np.testing.assert_array_equal(result["features"], extract(videos["long"])["features"])


def test_the_record_follows_a_model_that_is_trained_on(checkpoint, videos):
    extract = pipeline(TASK, model=BSPModel.from_pretrained(checkpoint), feature_extractor=tiny_extractor())
    first, again = extract(videos["short"]), extract(videos["short"])
    assert again["encoder"] == first["encoder"]
    with torch.no_grad():
        for parameter in extract.model.parameters():
            parameter.mul_(1.1)
    trained = extract(videos["short"])
    assert not np.allclose(trained["features"], first["features"])
    assert trained["encoder"]["revision"] != first["encoder"]["revision"]


def test_bf16_gives_float32_features_and_says_so(checkpoint, extract, videos):
    result = pipeline(TASK, model=str(checkpoint), dtype=torch.bfloat16)(videos["long"])
    exact = extract(videos["long"])
    assert result["features"].dtype == np.float32
    assert result["encoder"] == {**exact["encoder"], "dtype": "bfloat16"}
    assert np.abs(result["features"] - exact["features"]).max() < 0.05 * np.abs(exact["features"]).max()


# --- inputs ------------------------------------------------------------------------------------------------


def test_one_video_can_be_given_in_many_ways(extract, videos):
    path = videos["long"]
    expected = extract(str(path))
    data = path.read_bytes()
    for source in (
        path,
        data,
        bytearray(data),
        {"path": str(path), "bytes": None},
        {"path": None, "bytes": data},
    ):
        assert_same(extract(source), expected)
    with open(path, "rb") as file:
        assert_same(extract(file), expected)
        assert not file.closed


def test_frames_in_memory_give_what_the_file_gives(extract, videos):
    expected = extract(str(videos["long"]))
    frames = pictures(20)
    ways = [frames, torch.from_numpy(frames), list(frames), tuple(frames), list(torch.from_numpy(frames))]
    ways.append([Image.fromarray(frame) for frame in frames])
    for way in ways:
        assert_same(extract(way, input_fps=25), expected)


@pytest.mark.parametrize(
    "parameters",
    [
        {"start_s": 0.28},
        {"end_s": 0.4},
        {"start_s": 0.12, "end_s": 0.64},
        {"fps": 10},
        {"fps": 40, "start_s": 0.3},
    ],
)
def test_frames_in_memory_are_cut_and_resampled_as_a_file_is(extract, videos, parameters):
    expected = extract(str(videos["long"]), **parameters)
    assert len(expected["features"])
    assert_same(extract(pictures(20), input_fps=25, **parameters), expected)


@pytest.mark.parametrize("as_container", [list, tuple])
def test_several_videos_give_a_list_in_their_order(extract, videos, as_container):
    paths = [str(videos[name]) for name in ("short", "long", "exact", "short")]
    results = extract(as_container(paths))
    assert isinstance(results, list)
    for path, result in zip(paths, results, strict=True):
        assert_same(result, extract(path))


def test_several_clips_in_memory_give_a_list(extract, videos):
    frames = pictures(20)
    clips = [frames, list(frames[:5]), [Image.fromarray(frame) for frame in frames[:16]]]
    results = extract(clips, input_fps=25)
    for name, result in zip(("long", "short", "exact"), results, strict=True):
        assert_same(result, extract(videos[name]))


def test_no_videos_give_no_results(extract):
    assert extract([]) == []


def test_generator_is_read_as_results_are_taken(extract, videos):
    taken = []

    def paths():
        for name in ("short", "long", "exact", "short"):
            taken.append(name)
            yield str(videos[name])

    results = extract(paths())
    assert len(taken) <= 1
    assert_same(next(iter(results)), extract(videos["short"]))
    assert len(taken) <= 2
    names = ["long", "exact", "short"]
    for name, result in zip(names, results, strict=False):
        assert_same(result, extract(videos[name]))


def test_data_sets_of_paths_are_read(extract, videos):
    import datasets

    names = ["long", "short", "exact"]
    rows = {"video": [str(videos[name]) for name in names], "label": [0, 1, 2]}
    dataset = datasets.Dataset.from_dict(rows)
    for source in (KeyDataset(dataset, "video"), dataset["video"]):
        results = list(extract(source))
        for name, result in zip(names, results, strict=True):
            assert_same(result, extract(videos[name]))


def test_data_sets_of_videos_that_are_not_decoded_are_read(extract, videos):
    import datasets

    dataset = datasets.Dataset.from_dict({"video": [str(videos["long"])]})
    dataset = dataset.cast_column("video", datasets.Video(decode=False))
    (result,) = extract(KeyDataset(dataset, "video"))
    assert_same(result, extract(videos["long"]))


@pytest.mark.parametrize("batch_size", [2, 3, 16])
def test_batches_change_nothing(extract, videos, batch_size):
    names = ["long", "short", "exact", "long"]
    paths = [str(videos[name]) for name in names]
    single = [extract(path, stride_frames=3) for path in paths]
    for expected, result in zip(single, extract(paths, batch_size=batch_size, stride_frames=3), strict=True):
        assert_same(result, expected)
    assert_same(extract(paths[0], batch_size=batch_size, stride_frames=3), single[0])
    generated = extract((path for path in paths), batch_size=batch_size, stride_frames=3)
    for expected, result in zip(single, generated, strict=True):
        assert_same(result, expected)


def test_another_process_may_decode(extract, videos, broken):
    results = extract([str(videos["long"]), str(broken)], batch_size=2, num_workers=1)
    assert_same(results[0], extract(videos["long"]))
    assert "broken.mp4" in results[1]["error"]
    with pytest.raises(VideoDecodeError, match=r"broken\.mp4"):
        extract(str(broken), num_workers=1)


# --- times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "rows", "centers_s"),
    [
        # of 20 frames at 25 a second; the last row is the middle of what it really covers
        ({}, [range(0, 8), range(8, 16), range(16, 20)], [4 / 25, 12 / 25, 18 / 25]),
        ({"padding": "drop"}, [range(0, 8), range(8, 16)], [4 / 25, 12 / 25]),
        (
            {"stride_frames": 4},
            [range(k, k + 8) for k in (0, 4, 8, 12)],
            [4 / 25, 8 / 25, 12 / 25, 16 / 25],
        ),
        ({"stride_frames": 12}, [range(0, 8), range(12, 20)], [4 / 25, 16 / 25]),
        ({"start_s": 0.2, "end_s": 0.6}, [range(5, 13), range(13, 15)], [9 / 25, 14 / 25]),
        # every 0.1 s the nearest of the frames every 0.04 s, of two equally near the earlier
        ({"fps": 10}, [[0, 2, 5, 7, 10, 12, 15, 17]], [0.4]),
        ({"fps": 10, "stride_frames": 4}, [[0, 2, 5, 7, 10, 12, 15, 17]], [0.4]),
        ({"fps": 5, "start_s": 0.4}, [[10, 15]], [0.6]),
    ],
)
def test_rows_and_their_centres_at_a_constant_rate(extract, videos, parameters, rows, centers_s):
    result = extract(videos["long"], **parameters)
    np.testing.assert_allclose(result["centers_s"], centers_s, atol=1e-9)
    full = [[*row, *[row[-1]] * (8 - len(row))] for row in rows]
    np.testing.assert_allclose(result["features"], features_of(extract, full), rtol=1e-4, atol=1e-5)
    assert result["fps"] == parameters.get("fps", 25)
    assert result["stride_frames"] == parameters.get("stride_frames", 8)


def test_centres_follow_the_time_stamps_of_a_variable_rate(extract, tmp_path):
    times_s = [0.0, 0.04, 0.08, 0.3, 0.34, 0.5, 0.9, 1.0, 1.4, 1.44, 1.6, 2.0]
    video = render_video(tmp_path / "vfr.mkv", size=SIZE, codec="ffv1", times_s=times_s)
    result = extract(video)
    # the first row lasts until frame 8 is shown; the last frame is taken to last 1 / average rate
    end_s = times_s[-1] + 1 / result["fps"]
    np.testing.assert_allclose(result["centers_s"], [1.4 / 2, (1.4 + end_s) / 2], atol=2e-3)
    np.testing.assert_allclose(
        result["features"],
        features_of(extract, [list(range(8)), [8, 9, 10, 11, 11, 11, 11, 11]]),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("parameters", "num_frames", "duration_s"),
    [
        ({}, 20, 0.8),
        ({"padding": "drop"}, 20, 0.8),
        ({"end_s": 0.4}, 10, 0.4),
        ({"end_s": 5.0}, 20, 0.8),
        ({"start_s": 0.4}, 10, 0.8),
        ({"fps": 50}, 40, 0.8),
    ],
)
def test_frames_and_duration_say_what_was_read(extract, videos, parameters, num_frames, duration_s):
    for result in (
        extract(videos["long"], **parameters),
        extract(pictures(20), input_fps=25, **parameters),
    ):
        assert result["num_frames"] == num_frames
        assert result["duration_s"] == pytest.approx(duration_s)
        assert result["complete"]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("short", {"padding": "drop"}),
        ("long", {"start_s": 5.0}),
        ("long", {"end_s": 0.01, "padding": "drop"}),
    ],
)
def test_a_video_without_a_snippet_gives_no_rows(extract, videos, name, parameters):
    result = extract(videos[name], **parameters)
    assert result["features"].shape == (0, 32)
    assert result["centers_s"].shape == (0,)
    assert result["complete"]
    results = extract([str(videos["exact"]), str(videos[name])], batch_size=2, **parameters)
    assert results[1]["features"].shape == (0, 32)


def test_parameters_of_the_pipeline_hold_until_a_call_says_otherwise(checkpoint, extract, videos):
    overlapping = pipeline(TASK, model=str(checkpoint), stride_frames=4, padding="drop")
    assert_same(overlapping(videos["long"]), extract(videos["long"], stride_frames=4, padding="drop"))
    assert_same(overlapping(videos["long"], stride_frames=8), extract(videos["long"], padding="drop"))
    assert len(overlapping(videos["long"])["features"]) == 4


def test_settings_of_the_checkpoint_are_the_defaults(checkpoint, extract, videos):
    extractor = tiny_extractor(num_frames=4, stride_frames=2, fps=12.5, padding="drop")
    result = pipeline(TASK, model=extract.model, feature_extractor=extractor)(videos["long"])
    assert (result["snippet_frames"], result["stride_frames"], result["fps"]) == (4, 2, 12.5)
    assert result["num_frames"] == 10
    np.testing.assert_allclose(result["centers_s"], np.array([2, 4, 6, 8]) / 12.5)


def test_the_pipeline_runs_the_engine_s_copy_of_the_encoder_and_follows_its_weights(
    checkpoint, videos, monkeypatch
):
    extract = pipeline("video-feature-extraction", model=str(checkpoint))
    video = str(videos["long"])
    fast = extract(video)["features"]
    engine = ExtractionEngine(extract.model, extract.feature_extractor, dtype="float32")
    np.testing.assert_allclose(fast, engine.extract(video, video_id="v").features, atol=1e-6)
    assert extract._fast is not None and extract._fast is not extract.model
    copy = extract._fast
    extract(video)
    assert extract._fast is copy  # made once
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(extract))(video)["features"], fast)
    with torch.no_grad():
        next(extract.model.parameters()).mul_(2)
    changed = extract(video)["features"]
    monkeypatch.setattr(type(extract), "speed_up", None)
    np.testing.assert_allclose(changed, extract(video)["features"], atol=1e-5)
    assert np.abs(changed - fast).max() > 1e-3
