"""Whether a row is what it says: its centre time, whatever the stamps, and its features, however made."""

from functools import lru_cache

import av
import numpy as np
import pytest
from PIL import Image
from support.rendered import render_video
from transformers import AutoFeatureExtractor, AutoModel

from bsp_hf import BSPFeatureExtractor, VideoReader, extract_features
from bsp_hf.features import read_track

SIZE = {"size": (48, 40), "codec": "ffv1"}


@lru_cache
def load(folder):
    return AutoModel.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder)


def track_of(video, folder, output, **options):
    model, extractor = load(folder)
    report = extract_features(video, model, output, extractor=extractor, show_progress=False, **options)
    assert report.done == (video.stem,), report.failed
    return read_track(output / f"{video.stem}.npy")


def shown_at_s(path):
    """When each frame is shown, by the packets and nothing of ours; the first at 0."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stamps = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
    return [float((stamp - stamps[0]) * stream.time_base) for stamp in stamps]


def centres(times_s, last_s):
    """The middle of each eight frames; the last row may have fewer."""
    edges = [*times_s, times_s[-1] + last_s]
    starts = range(0, len(times_s), 8)
    return [(edges[start] + edges[min(start + 8, len(times_s))]) / 2 for start in starts]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("constant.mkv", {"num_frames": 21}),
        ("ntsc.mkv", {"num_frames": 21, "fps": 30000 / 1001}),
        ("late.mkv", {"times_s": [7.25 + k * 0.04 for k in range(21)]}),
        ("varying.mkv", {"times_s": np.cumsum([0.04, 0.28, 0.04, 0.12, 0.04, 0.04, 0.2] * 3)}),
    ],
)
def test_centres_are_right_to_half_a_frame(tiny_encoder, tmp_path, name, options):
    video = render_video(tmp_path / name, **options, **SIZE)
    times_s = shown_at_s(video)
    track = track_of(video, tiny_encoder, tmp_path / "out")
    expected = centres(times_s, 1 / track.record.fps)
    half_frame_s = 0.5 * float(np.median(np.diff(times_s)))
    assert len(track.centers_s) == len(expected) == 3
    np.testing.assert_allclose(track.centers_s, expected, atol=half_frame_s)
    # And in fact to a millisecond, which is what Matroska keeps.
    np.testing.assert_allclose(track.centers_s, expected, atol=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        "bframes_edit_list.mp4",
        "negative_pts.ts",
        "late_start.mp4",
        "fragmented.mp4",
        "elementary_no_pts.h264",
    ],
)
def test_centres_of_awkward_files_of_constant_rate(shared_data, tiny_encoder, tmp_path, name):
    video = shared_data / "hostile" / name
    num_frames = {"bframes_edit_list.mp4": 37}.get(name, 75)
    track = track_of(video, tiny_encoder, tmp_path / "out")
    expected = centres([k / 25 for k in range(num_frames)], 1 / 25)
    np.testing.assert_allclose(track.centers_s, expected, atol=1e-6)


@pytest.mark.parametrize(("fps", "num_rows"), [(5, 3), (12.5, 7), (30, 18)])
def test_centres_of_a_resampled_video_lie_on_the_new_rate(shared_data, tiny_encoder, tmp_path, fps, num_rows):
    """The file lasts 4.81 s at a varying rate."""
    video = shared_data / "hostile" / "vfr.mp4"
    track = track_of(video, tiny_encoder, tmp_path / "out", fps=fps, padding="drop")
    assert track.num_snippets == num_rows
    np.testing.assert_allclose(track.centers_s, (8 * np.arange(num_rows) + 4) / fps, atol=1e-9)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return render_video(tmp_path_factory.mktemp("video") / "v.mkv", 45, **SIZE)


def test_a_window_has_one_row_whatever_the_stride(video, tiny_encoder, tmp_path):
    dense = track_of(video, tiny_encoder, tmp_path / "1", stride_frames=1)
    assert dense.num_snippets == 38
    for stride in (3, 4, 8):
        track = track_of(video, tiny_encoder, tmp_path / str(stride), stride_frames=stride, padding="drop")
        np.testing.assert_allclose(track.features, dense.features[::stride], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(track.centers_s, dense.centers_s[::stride])
    # A dense grid tells windows apart: neighbours are far from equal.
    assert np.abs(np.diff(dense.features, axis=0)).max() > 1e-2


def test_batches_and_threads_change_nothing_beyond_rounding(video, tiny_encoder, tmp_path):
    plain = track_of(video, tiny_encoder, tmp_path / "plain", batch_size=1, num_threads=1)
    for number, options in enumerate(({"batch_size": 4}, {"batch_size": 1, "num_threads": 3})):
        track = track_of(video, tiny_encoder, tmp_path / str(number), **options)
        np.testing.assert_allclose(track.features, plain.features, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(track.centers_s, plain.centers_s)


@pytest.mark.slow
def test_processes_change_nothing_beyond_rounding(video, tiny_encoder, tmp_path):
    plain = track_of(video, tiny_encoder, tmp_path / "plain")
    track = track_of(video, tiny_encoder, tmp_path / "process", num_workers=1)
    np.testing.assert_allclose(track.features, plain.features, rtol=1e-4, atol=1e-5)


def test_pixels_of_a_real_video_are_pillows_to_a_hundredth(shared_data):
    """Of 255; the documented preprocessing is Pillow's antialiased bilinear resize and a centre crop."""
    differences = []
    with VideoReader(next((shared_data / "untrimmed_mini").glob("*.mp4")), end_s=4) as frames:
        for frame in list(frames)[::20]:
            image = Image.fromarray(frame.image)
            width, height = image.size
            size = (256 * width // height, 256) if width > height else (256, 256 * height // width)
            resized = image.resize(size, Image.Resampling.BILINEAR)
            left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
            expected = np.asarray(resized.crop((left, top, left + 224, top + 224))).astype(int)
            pixels = BSPFeatureExtractor().resize_and_crop(frame.image[None])[0].permute(1, 2, 0).numpy()
            differences.append(np.abs(pixels - expected).mean())
    assert len(differences) >= 4
    print(f"mean difference from Pillow: {np.mean(differences):.5f} of 255")
    assert np.mean(differences) <= 0.01
