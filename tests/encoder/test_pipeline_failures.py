"""`pipeline("video-feature-extraction")`: what goes wrong, other models, and memory."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.known_videos import KEYS, SIZE, TASK, assert_same, pictures
from support.rendered import render_video
from support.tiny import tiny_extractor
from transformers import TimesformerConfig, TimesformerModel, VideoMAEConfig, VideoMAEModel, pipeline

from bsp_hf import BSPModel, PartialVideoWarning, VideoDecodeError, VideoFeatureExtractionPipeline
from bsp_hf.encoder import video_snippets

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


def test_rows_that_are_not_finite_fail_their_video(checkpoint, videos, caplog):
    model = BSPModel.from_pretrained(checkpoint)
    extract = pipeline(TASK, model=model, feature_extractor=tiny_extractor())
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match=r"long.*: 3 of 3 rows that the model gave are not finite"):
        extract(videos["long"])
    (result,) = extract([videos["long"]])
    assert list(result) == KEYS
    assert result["features"].shape == (0, 32) and result["complete"] is False
    assert "not finite" in result["error"]


def test_a_video_that_fails_on_the_way_keeps_the_rows_before(extract, videos, monkeypatch):
    class FailingReader(video_snippets.VideoReader):
        def __next__(self):
            frame = super().__next__()
            if frame.index == 18:
                raise VideoDecodeError(self.name, "no frame came within 60 s")
            return frame

    whole = extract(videos["long"])
    monkeypatch.setattr(video_snippets, "VideoReader", FailingReader)
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
        states_no_end = name.endswith((".ts", ".h264"))
        is_whole = "unknown" if states_no_end and row["outcome"] == "ok" else row["outcome"] == "ok"
        assert result["complete"] == is_whole, name
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
def test_memory_does_not_grow_with_the_length_of_the_video(checkpoint, tmp_path):
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
            [sys.executable, "-c", MEASURE, str(checkpoint), str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        num_rows, peaks_kib[minutes] = map(int, measured.stdout.split()[-2:])
        assert num_rows == -(-num_frames // 8)
    # nine more minutes are 13500 frames, 778 MB of pixels
    assert peaks_kib[10] - peaks_kib[1] < 40 * 1024
