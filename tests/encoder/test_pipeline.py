"""`pipeline("video-feature-extraction")`: every input, the times of the rows, broken files, other models."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rendered import numbered_picture, render_video
from tiny import randomize, tiny_config, tiny_extractor
from transformers import TimesformerConfig, TimesformerModel, VideoMAEConfig, VideoMAEModel, pipeline
from transformers.pipelines.pt_utils import KeyDataset

from bsp_hf import (
    BSPForBoundaryClassification,
    PartialVideoWarning,
    VideoDecodeError,
    VideoFeatureExtractionPipeline,
    save_checkpoint_folder,
)
from bsp_hf.encoder import pipeline_video_features

TASK = "video-feature-extraction"
SIZE = (48, 40)
KEYS = ["features", "centers_s", "fps", "snippet_frames", "stride_frames", "num_frames", "duration_s"]
KEYS += ["encoder", "complete", "error"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    model = randomize(BSPForBoundaryClassification(tiny_config())).eval()
    return save_checkpoint_folder(model, tiny_extractor(), tmp_path_factory.mktemp("x") / "bsp-tiny")


@pytest.fixture(scope="module")
def extract(folder) -> VideoFeatureExtractionPipeline:
    return pipeline(TASK, model=str(folder))


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dict[str, Path]:
    """Lossless, so that the pictures are known exactly; 25 frames a second."""
    where = tmp_path_factory.mktemp("videos")
    lossless = {"size": SIZE, "codec": "ffv1"}
    return {
        "long": render_video(where / "long.mkv", 20, **lossless),
        "short": render_video(where / "short.mkv", 5, **lossless),
        "exact": render_video(where / "exact.mkv", 16, **lossless),
    }


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("broken") / "broken.mp4"
    path.write_bytes(b"this is no video " * 50)
    return path


def pictures(num_frames: int) -> np.ndarray:
    return np.stack([numbered_picture(k, *SIZE) for k in range(num_frames)])


def features_of(extract, rows: list[list[int]]) -> np.ndarray:
    """What the model makes of the pictures with these numbers, one list a snippet."""
    model, extractor = extract.model, tiny_extractor()
    with torch.no_grad():
        clips = [extractor(np.stack([numbered_picture(k, *SIZE) for k in row]), "pt") for row in rows]
        return torch.cat([model(clip["pixel_values"]).pooler_output for clip in clips]).numpy()


def assert_same(result, expected):
    assert result.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(result[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
        else:
            assert result[key] == value, key


# --- the result --------------------------------------------------------------------------------------------


def test_result_has_the_documented_keys_types_and_shapes(extract, videos, folder):
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
    assert result["encoder"]["id"] == folder.name


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


def test_a_model_with_a_head_gives_the_encoders_features(folder, extract, videos):
    model = BSPForBoundaryClassification.from_pretrained(folder)
    with_head = pipeline(TASK, model=model, feature_extractor=tiny_extractor())
    result = with_head(videos["long"])
    np.testing.assert_array_equal(result["features"], extract(videos["long"])["features"])


def test_bf16_gives_float32_features_and_says_so(folder, extract, videos):
    result = pipeline(TASK, model=str(folder), dtype=torch.bfloat16)(videos["long"])
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


def test_parameters_of_the_pipeline_hold_until_a_call_says_otherwise(folder, extract, videos):
    overlapping = pipeline(TASK, model=str(folder), stride_frames=4, padding="drop")
    assert_same(overlapping(videos["long"]), extract(videos["long"], stride_frames=4, padding="drop"))
    assert_same(overlapping(videos["long"], stride_frames=8), extract(videos["long"], padding="drop"))
    assert len(overlapping(videos["long"])["features"]) == 4


def test_settings_of_the_checkpoint_are_the_defaults(folder, extract, videos):
    extractor = tiny_extractor(num_frames=4, stride_frames=2, fps=12.5, padding="drop")
    result = pipeline(TASK, model=extract.model, feature_extractor=extractor)(videos["long"])
    assert (result["snippet_frames"], result["stride_frames"], result["fps"]) == (4, 2, 12.5)
    assert result["num_frames"] == 10
    np.testing.assert_allclose(result["centers_s"], np.array([2, 4, 6, 8]) / 12.5)


# --- what goes wrong ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"stride": 4}, TypeError, "no parameter stride; it takes stride_frames, fps"),
        ({"stride_frames": 0}, ValueError, "stride_frames must be at least 1"),
        ({"fps": 0}, ValueError, "fps must be a positive number, got 0"),
        ({"fps": float("nan")}, ValueError, "fps"),
        ({"padding": "zero"}, ValueError, "'repeat' or 'drop', got 'zero'"),
        ({"start_s": -1.0}, ValueError, "start_s"),
        ({"start_s": 2.0, "end_s": 1.0}, ValueError, "got 2.0 and 1.0"),
        ({"input_fps": 25.0}, ValueError, "input_fps= is for frames in memory"),
    ],
)
def test_bad_parameters_are_refused_for_one_video_and_for_several(
    extract, videos, parameters, error, message
):
    for source in (str(videos["short"]), [str(videos["short"])]):
        with pytest.raises(error, match=message):
            extract(source, **parameters)


@pytest.mark.parametrize(
    ("frames", "parameters", "message"),
    [
        (np.zeros((9, 8, 8, 3), np.uint8), {}, "pass input_fps="),
        (np.zeros((9, 8, 8, 3), np.uint8), {"input_fps": 0}, "fps must be a positive number"),
        (np.zeros((9, 8, 8, 3), np.float32), {"input_fps": 25}, r"got float32 \(9, 8, 8, 3\)"),
        (np.zeros((9, 3, 8, 8), np.uint8), {"input_fps": 25}, r"got uint8 \(9, 3, 8, 8\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), {"input_fps": 25}, "at least one frame"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], {"input_fps": 25}, "one size"),
        (np.zeros((9, 8, 8, 3), np.uint8), {"input_fps": 25, "start_s": -1}, "start_s"),
    ],
)
def test_frames_that_are_no_video_are_refused(extract, frames, parameters, message):
    with pytest.raises(ValueError, match=message):
        extract(frames, **parameters)


def test_what_holds_no_video_is_refused(extract):
    with pytest.raises(TypeError, match="not from int"):
        extract(3)


def test_one_broken_video_raises_its_own_error(extract, broken, tmp_path):
    for source in (str(broken), broken, broken.read_bytes(), {"path": str(broken), "bytes": None}):
        with pytest.raises(VideoDecodeError):
            extract(source)
    with pytest.raises(FileNotFoundError, match=r"nothing\.mp4"):
        extract(str(tmp_path / "nothing.mp4"))
    with pytest.raises(IsADirectoryError):
        extract(tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoDecodeError, match=r"empty\.mp4: the file is empty"):
        extract(tmp_path / "empty.mp4")


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_broken_video_in_a_list_stops_no_other(extract, videos, broken, batch_size):
    paths = [str(broken), str(videos["long"]), "nothing.mp4", str(videos["short"]), str(broken)]
    results = extract(paths, batch_size=batch_size)
    assert [len(result["features"]) for result in results] == [0, 3, 0, 1, 0]
    assert_same(results[1], extract(videos["long"]))
    assert_same(results[3], extract(videos["short"]))
    for index, name in ((0, "broken.mp4"), (2, "nothing.mp4"), (4, "broken.mp4")):
        result = results[index]
        assert list(result) == KEYS
        assert name in result["error"]
        assert result["complete"] is False
        assert result["fps"] is None
        assert result["features"].shape == (0, 32)
        assert result["features"].dtype == np.float32
        assert result["centers_s"].shape == (0,)
        assert result["duration_s"] == 0


def test_a_video_that_fails_on_the_way_keeps_the_rows_before(extract, videos, monkeypatch):
    class FailingReader(pipeline_video_features.VideoReader):
        def __next__(self):
            frame = super().__next__()
            if frame.index == 18:
                raise VideoDecodeError(self.name, "no frame came within 60 s")
            return frame

    whole = extract(videos["long"])
    monkeypatch.setattr(pipeline_video_features, "VideoReader", FailingReader)
    first, second = extract([str(videos["long"]), str(videos["short"])])
    np.testing.assert_array_equal(first["features"], whole["features"][:2])
    np.testing.assert_array_equal(first["centers_s"], whole["centers_s"][:2])
    assert first["complete"] is False
    assert "no frame came within 60 s" in first["error"]
    assert first["duration_s"] == pytest.approx(16 / 25)
    assert second["complete"]
    with pytest.raises(VideoDecodeError, match="no frame came"):
        extract(videos["long"])


def test_a_partial_file_is_marked_incomplete(extract, tmp_path):
    whole = render_video(
        tmp_path / "whole.mp4", 100, size=SIZE, gop=10, format_options={"movflags": "faststart"}
    )
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.warns(PartialVideoWarning, match=r"cut\.mp4"):
        result = extract(str(cut))
    assert result["complete"] is False
    assert result["error"]
    full = extract(str(whole))
    assert full["complete"]
    num_whole_rows = result["num_frames"] // 8
    assert 0 < num_whole_rows < len(full["features"])
    # a few pictures before the cut may be damaged
    np.testing.assert_allclose(
        result["features"][: num_whole_rows - 2], full["features"][: num_whole_rows - 2], rtol=1e-4, atol=1e-5
    )


@pytest.mark.filterwarnings("ignore::bsp_hf.encoder.video.PartialVideoWarning")
def test_awkward_real_files_in_one_list_each_come_out_as_expected(extract, shared_data):
    with open(shared_data / "hostile" / "expected.csv", newline="") as table:
        expected = list(csv.DictReader(table))
    results = extract([str(shared_data / "hostile" / row["file"]) for row in expected], batch_size=8)
    for row, result in zip(expected, results, strict=True):
        name, num_frames = row["file"], int(row["frames"] or 0)
        assert result["num_frames"] == num_frames, name
        assert len(result["features"]) == len(result["centers_s"]) == -(-num_frames // 8), name
        assert np.isfinite(result["features"]).all(), name
        assert (np.diff(result["centers_s"]) > 0).all(), name
        assert result["complete"] == (row["outcome"] == "ok"), name
        assert (result["error"] is None) == (row["outcome"] == "ok"), name
        if row["outcome"] == "error":
            assert name in result["error"]
        else:
            assert result["fps"] == pytest.approx(float(row["fps"]), abs=1e-3), name
            assert result["centers_s"][-1] < result["duration_s"], name


def test_a_model_without_preprocessing_says_what_to_pass(extract, videos):
    bare = VideoFeatureExtractionPipeline(model=extract.model)
    with pytest.raises(ValueError, match=r"feature_extractor=BSPFeatureExtractor"):
        bare(videos["short"])


def test_frames_that_are_not_cropped_keep_their_shape(extract, videos):
    extractor = tiny_extractor(do_center_crop=False)
    whole = pipeline(TASK, model=extract.model, feature_extractor=extractor)
    result = whole(videos["long"])
    assert result["features"].shape == (3, 32)
    assert not np.allclose(result["features"], extract(videos["long"])["features"])


# --- other models ------------------------------------------------------------------------------------------


def foreign_model(name):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    if name == "videomae":
        return VideoMAEModel(VideoMAEConfig(image_size=32, num_frames=8, **sizes)).eval()
    return TimesformerModel(TimesformerConfig(image_size=32, num_frames=8, **sizes)).eval()


@pytest.mark.parametrize("name", ["videomae", "timesformer"])
def test_video_transformers_run_with_their_own_image_processor(name, videos, tmp_path):
    try:
        from transformers import VideoMAEImageProcessorPil as VideoMAEImageProcessor
    except ImportError:
        pytest.skip("this release has no image processor without torchvision")
    model = foreign_model(name)
    model.save_pretrained(tmp_path)
    processor = VideoMAEImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    extract = pipeline(TASK, model=str(tmp_path))
    results = extract(
        [str(videos["long"]), "nothing.mp4", str(videos["exact"])], batch_size=2, padding="drop"
    )
    assert [result["features"].shape for result in results] == [(2, 16), (0, 16), (2, 16)]
    pixel_values = processor(list(pictures(8)), return_tensors="pt")["pixel_values"].reshape(1, 8, 3, 32, 32)
    with torch.no_grad():
        expected = model(pixel_values).last_hidden_state.mean(1)
    for result in (results[0], results[2]):
        np.testing.assert_allclose(result["features"][:1], expected, rtol=1e-4, atol=1e-5)
    assert results[0]["snippet_frames"] == 8


def test_video_transformers_run_with_our_preprocessing(videos):
    model = foreign_model("timesformer")
    extractor = tiny_extractor()
    result = pipeline(TASK, model=model, feature_extractor=extractor)(videos["long"], batch_size=2)
    with torch.no_grad():
        expected = model(extractor(pictures(8), "pt")["pixel_values"]).last_hidden_state.mean(1)
    np.testing.assert_allclose(result["features"][:1], expected, rtol=1e-4, atol=1e-5)
    assert result["features"].shape == (3, 16)


# --- memory ------------------------------------------------------------------------------------------------

MEASURE = """
import resource, sys
from transformers import pipeline
import bsp_hf
extract = pipeline("video-feature-extraction", model=sys.argv[1])
track = extract(sys.argv[2], batch_size=4)
print(len(track["features"]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_the_video(folder, tmp_path):
    import av

    peaks_kib = {}
    for minutes in (1, 10):
        num_frames = minutes * 60 * 25
        path = tmp_path / f"{minutes}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            for k in range(num_frames):
                picture = np.full((120, 160, 3), k * 5 % 256, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode())
        measured = subprocess.run(
            [sys.executable, "-c", MEASURE, str(folder), str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        num_rows, peaks_kib[minutes] = map(int, measured.stdout.split()[-2:])
        assert num_rows == -(-num_frames // 8)
    # nine more minutes are 13500 frames, 778 MB of pixels
    assert peaks_kib[10] - peaks_kib[1] < 40 * 1024
