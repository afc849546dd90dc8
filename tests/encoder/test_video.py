"""Reading videos: which frames, at what time, in which colours, and what is said of broken files."""

import csv
import gc
import io
import os
import pickle
import time
import warnings
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from rendered import numbered_picture, read_number, read_numbers, render_video

from bsp_hf.encoder.video import (
    PartialVideoWarning,
    VideoDecodeError,
    decoder_version,
    index_frames,
    iter_frames,
    open_video,
    read_frames,
)

pytestmark = pytest.mark.filterwarnings("error")

HOSTILE = [
    ["alpha.mov", "audio_only.mp4", "audio_track_first.mp4", "bframes_edit_list.mp4", "corrupt_middle.mp4"],
    [
        "elementary_no_pts.h264",
        "fps_1.mp4",
        "fps_240.mp4",
        "fragmented.mp4",
        "gray_ffv1.mkv",
        "interlaced_tff.mp4",
    ],
    [
        "late_start.mp4",
        "mjpeg.avi",
        "negative_pts.ts",
        "no_keyframe_start.ts",
        "odd_131x97.mp4",
        "palette.gif",
    ],
    ["resolution_change.ts", "rotated_90.mp4", "single_frame.mp4", "ten_bit.mp4", "text_renamed.mp4"],
    ["truncated_no_moov.mp4", "truncated_tail.mp4", "vfr.mp4", "vp9.webm", "zero_bytes.mp4"],
]


@pytest.fixture(scope="module")
def render(tmp_path_factory):
    """Render each video once for all tests of this file."""
    folder = tmp_path_factory.mktemp("videos")
    made = {}

    def make(name, *args, **kwargs):
        key = repr((name, args, sorted(kwargs.items())))
        if key not in made:
            made[key] = render_video(folder / f"{len(made)}_{name}", *args, **kwargs)
        return made[key]

    return make


def read_all(source, **options):
    with open_video(source, **options) as video:
        frames = list(video)
    return frames, video.report, video.metadata


def plain_decode(path):
    """All frames as PyAV itself gives them."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


# The hostile files


@pytest.fixture(scope="module")
def expected(shared_data):
    with open(shared_data / "hostile" / "expected.csv", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_every_hostile_file_is_tested(expected):
    assert sorted(expected) == sorted(sum(HOSTILE, []))


@pytest.mark.parametrize("name", sum(HOSTILE, []))
def test_hostile_file_behaves_as_stated(shared_data, expected, name):
    row, path = expected[name], shared_data / "hostile" / name
    if row["outcome"] == "error":
        with pytest.raises(VideoDecodeError, match=name):
            open_video(path)
        with pytest.raises(VideoDecodeError, match=name):
            index_frames(path)
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frames, report, metadata = read_all(path)
        index = index_frames(path)
        picked = read_frames(path, [len(frames) - 1, 0, len(frames) // 2], index)
    width, height = int(row["width"]), int(row["height"])
    assert len(frames) == int(row["frames"]) == report.num_frames == index.num_frames
    assert (metadata.width, metadata.height) == (index.width, index.height) == (width, height)
    assert {frame.image.shape for frame in frames} == {(height, width, 3)}
    assert {frame.image.dtype for frame in frames} == {np.dtype(np.uint8)}
    assert metadata.fps == pytest.approx(float(row["fps"]), abs=1e-3)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    np.testing.assert_array_equal(index.times_s, [frame.time_s for frame in frames])
    np.testing.assert_array_equal(picked[0], frames[-1].image)
    np.testing.assert_array_equal(picked[1], frames[0].image)
    np.testing.assert_array_equal(picked[2], frames[len(frames) // 2].image)
    is_partial = row["outcome"] == "partial"
    assert report.complete is index.complete is not is_partial
    assert (report.reason is not None) == (index.reason is not None) == is_partial
    assert {w.category for w in caught} == ({PartialVideoWarning} if is_partial else set())
    assert all(name in str(w.message) for w in caught)
    if name not in ("vfr.mp4", "corrupt_middle.mp4"):  # all others have a constant rate
        np.testing.assert_allclose(
            [f.time_s for f in frames], np.arange(len(frames)) / metadata.fps, atol=1e-9
        )
        assert report.duration_s == pytest.approx(len(frames) / metadata.fps)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("audio_only.mp4", "no video stream"),
        ("text_renamed.mp4", "not a video"),
        ("truncated_no_moov.mp4", "cut before its index"),
        ("zero_bytes.mp4", "empty"),
    ],
)
def test_the_reason_of_an_error_is_told(shared_data, name, reason):
    with pytest.raises(VideoDecodeError, match=reason) as caught:
        open_video(shared_data / "hostile" / name)
    assert reason in caught.value.reason
    assert caught.value.file.endswith(name)


def test_variable_rate_times_are_those_of_the_packets(shared_data):
    path = shared_data / "hostile" / "vfr.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stamps = sorted(packet.pts for packet in container.demux(stream) if packet.pts is not None)
        expected_s = [float((stamp - stamps[0]) * stream.time_base) for stamp in stamps]
    frames, _, _ = read_all(path)
    np.testing.assert_allclose([frame.time_s for frame in frames], expected_s, atol=1e-12)
    gaps_s = np.diff(expected_s)
    assert gaps_s.min() == pytest.approx(0.04)
    assert gaps_s.max() == pytest.approx(0.28)
    assert frames[-1].time_s == pytest.approx(4.72)


def test_what_is_missing_in_partial_files_is_told(shared_data):
    with pytest.warns(PartialVideoWarning, match=r"41 of 75 declared frames.*41 frames were decoded"):
        read_all(shared_data / "hostile" / "truncated_tail.mp4")
    with pytest.warns(PartialVideoWarning, match=r"73 of 75 declared frames.*frames are damaged"):
        _, report, metadata = read_all(shared_data / "hostile" / "corrupt_middle.mp4")
    assert report.num_corrupt_frames > 0
    assert metadata.num_frames_declared == 75


def test_hostile_pictures_are_right(shared_data):
    folder = shared_data / "hostile"
    rotated, _, metadata = read_all(folder / "rotated_90.mp4")
    assert (metadata.rotation, metadata.mirrored) == (90, False)
    for frame, coded in zip(rotated, plain_decode(folder / "rotated_90.mp4"), strict=True):
        np.testing.assert_array_equal(frame.image, np.rot90(coded))
    for frame in read_all(folder / "gray_ffv1.mkv")[0]:
        assert (frame.image[..., :1] == frame.image).all()
    assert read_all(folder / "no_keyframe_start.ts")[0][0].image.std() > 10  # no gray or black picture


# Which frames


CODECS = {
    "h264": ("a.mp4", {}),
    "h264 all intra": ("a.mp4", {"gop": 1, "b_frames": 0}),
    "h264 one keyframe": ("a.mp4", {"gop": 250, "b_frames": 3}),
    "h264 open gop": ("a.mkv", {"codec_options": {"x264-params": "open-gop=1:bframes=2"}}),
    "h264 fragmented": ("a.mp4", {"format_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "h264 index first": ("a.mp4", {"format_options": {"movflags": "faststart"}}),
    "h264 transport stream": ("a.ts", {}),
    "h264 raw": ("a.h264", {}),
    "h264 flv": ("a.flv", {}),
    "h264 10 bit": ("a.mp4", {"pixel_format": "yuv420p10le"}),
    "mpeg4 b-frames": ("a.mp4", {"codec": "mpeg4"}),
    "mpeg4 avi": ("a.avi", {"codec": "mpeg4", "b_frames": 0}),
    "mpeg4 avi b-frames": ("a.avi", {"codec": "mpeg4"}),
    "mpeg2": ("a.ts", {"codec": "mpeg2video"}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9"}),
    "vp8": ("a.webm", {"codec": "libvpx"}),
    "ffv1": ("a.mkv", {"codec": "ffv1"}),
    "mjpeg": ("a.avi", {"codec": "mjpeg"}),
    "qtrle": ("a.mov", {"codec": "qtrle"}),
    "gif": ("a.gif", {"codec": "gif", "fps": 20}),
    "audio first": ("a.mp4", {"audio": "first"}),
    "audio longer": ("a.mkv", {"audio": "last", "audio_s": 6}),
    "cover art": ("a.mp4", {"cover_art": True}),
}


@pytest.fixture(params=CODECS)
def numbered(request, render):
    """A video of each kind, 40 frames."""
    name, options = CODECS[request.param]
    return render(name, 40, **options)


def test_every_frame_comes_once_and_in_order(numbered):
    frames, report, metadata = read_all(numbered)
    assert read_numbers(frame.image for frame in frames) == list(range(40))
    np.testing.assert_allclose([f.time_s for f in frames], np.arange(40) / metadata.fps, atol=6e-4)
    assert report.complete
    assert report.reason is None
    assert all(frame.image.flags.c_contiguous and frame.image.flags.writeable for frame in frames)


def test_random_access_gives_the_pixels_of_the_full_decode(numbered):
    full = np.stack([frame.image for frame in read_all(numbered)[0]])
    index = index_frames(numbered)
    assert index.num_frames == 40
    rng = np.random.default_rng(0)
    wanted = [[0], [39], [20], range(40), [39, 0, 20, 20, 1], range(3, 40, 5), range(39, -1, -7)]
    wanted += [rng.integers(0, 40, rng.integers(1, 9)) for _ in range(12)]
    for indices in wanted:
        np.testing.assert_array_equal(read_frames(numbered, indices, index), full[list(indices)])


@pytest.mark.parametrize(
    "kind", ["h264", "h264 all intra", "h264 fragmented", "mpeg4 b-frames", "vp9", "ffv1"]
)
def test_indexed_files_are_sought_not_decoded_through(render, kind, monkeypatch):
    name, options = CODECS[kind]
    path = render(name, 40, **options)
    index = index_frames(path)
    assert index.is_seekable
    monkeypatch.setattr("bsp_hf.encoder.video.open_video", None)  # what decodes from the start
    assert read_numbers(read_frames(path, [38, 2, 25], index)) == [38, 2, 25]


@pytest.mark.parametrize("kind", ["h264 raw", "h264 transport stream", "vp8", "gif", "mpeg4 avi b-frames"])
def test_files_that_cannot_be_trusted_are_counted_by_decoding(render, kind):
    name, options = CODECS[kind]
    assert not index_frames(render(name, 40, **options)).is_seekable


def test_random_access_over_many_groups_and_long_jumps(render):
    path = render("long.mp4", 400, size=(64, 48), gop=10)
    index = index_frames(path)
    rng = np.random.default_rng(1)
    for _ in range(10):
        wanted = rng.integers(0, 400, 12)
        assert read_numbers(read_frames(path, wanted, index)) == wanted.tolist()
    assert len(index.keyframe_positions) == 40


def test_an_index_made_on_the_way_gives_the_same(render):
    path = render("a.mp4", 40)
    assert read_numbers(read_frames(path, [7, 5])) == [7, 5]
    assert read_frames(path, []).shape == (0, 64, 96, 3)


def test_frames_that_are_not_there_are_refused_with_numbers(render):
    path = render("a.mp4", 40)
    index = index_frames(path)
    with pytest.raises(IndexError, match="Frame 40 was asked for, but the video has 40 frames, 0 to 39"):
        read_frames(path, [0, 40], index)
    with pytest.raises(IndexError, match="Frame -1"):
        read_frames(path, [-1], index)
    with pytest.raises(TypeError):
        read_frames(path, [1.5], index)


def test_the_index_of_another_file_does_not_give_its_frames(render):
    path, other = render("a.mp4", 40), render("vfr.mp4", times_s=[0.3 * k for k in range(40)])
    index = index_frames(other)
    assert read_numbers(read_frames(path, [3, 30], index)) == [3, 30]
    with pytest.raises(VideoDecodeError, match="frame 39 of 40 does not decode"):
        read_frames(render("short.mp4", 20), [39], index)


def test_an_index_survives_pickling_and_json(render):
    import json

    path = render("a.mp4", 40)
    index = index_frames(path)
    for copy in (
        pickle.loads(pickle.dumps(index)),
        type(index).from_dict(json.loads(json.dumps(index.to_dict()))),
    ):
        assert copy.to_dict() == index.to_dict()
        assert copy.pts.dtype == np.int64
        assert read_numbers(read_frames(path, [9], copy)) == [9]


# At what time


def test_times_at_a_variable_rate_are_those_written(render):
    times_s = [0.0, 0.04, 0.2, 0.25, 1.0, 1.5, 3.0, 3.02]
    for name in ("vfr.mp4", "vfr.mkv"):
        path = render(name, times_s=times_s)
        frames, _, _ = read_all(path)
        assert read_numbers(frame.image for frame in frames) == list(range(8))
        np.testing.assert_allclose([frame.time_s for frame in frames], times_s, atol=1e-9)
        np.testing.assert_allclose(index_frames(path).times_s, times_s, atol=1e-9)


def test_the_first_frame_is_time_zero_however_late_it_comes(render):
    path = render("late.mkv", times_s=[7.25 + k / 25 for k in range(10)])
    frames, report, _ = read_all(path)
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(10) / 25, atol=1e-9)
    assert report.complete


def test_a_raw_stream_runs_at_the_rate_that_it_states(render):
    frames, report, metadata = read_all(render("thirty.h264", 12, fps=30))
    assert metadata.fps == 30
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(12) / 30)
    assert report.num_repaired_times == 12


def test_a_range_gives_the_frames_shown_in_it(render):
    path = render("a.mp4", 40)
    for start_s, end_s, numbers in [
        (0, 0.2, range(5)),
        (0.2, 0.4, range(5, 10)),
        (0.19, 0.21, [5]),
        (1.5, 9, [38, 39]),
        (1.5, None, [38, 39]),
        (5, None, []),
    ]:
        frames, report, _ = read_all(path, start_s=start_s, end_s=end_s)
        assert [frame.index for frame in frames] == list(numbers)
        assert read_numbers(frame.image for frame in frames) == list(numbers)
        assert report.complete


def test_reading_stops_at_the_end_of_a_range(render):
    _, report, _ = read_all(render("a.mp4", 40), end_s=0.2)
    assert report.num_frames < 10


def test_resampling_takes_the_nearest_frame(render):
    path = render("a.mp4", 40)  # 25 frames a second, 1.6 s
    assert [f.index for f in read_all(path, fps=12.5)[0]] == list(range(0, 40, 2))
    assert [f.index for f in read_all(path, fps=10)[0]] == [
        0,
        2,
        5,
        7,
        10,
        12,
        15,
        17,
        20,
        22,
        25,
        27,
        30,
        32,
        35,
        37,
    ]
    frames, report, _ = read_all(path, fps=50, start_s=0.4, end_s=0.5)
    assert [(round(f.time_s, 6), f.index) for f in frames] == [
        (0.4, 10),
        (0.42, 10),
        (0.44, 11),
        (0.46, 11),
        (0.48, 12),
    ]
    assert [read_number(f.image) for f in frames] == [10, 10, 11, 11, 12]
    assert report.complete


def test_resampling_a_variable_rate_goes_by_time(render):
    path = render("vfr.mp4", times_s=[0.0, 0.04, 0.2, 0.25, 1.0, 1.5, 3.0, 3.02])
    numbers = [read_number(frame.image) for frame in iter_frames(path, fps=2)]
    assert numbers == [0, 3, 4, 5, 5, 6, 6]  # nearest to 0, 0.5, 1, 1.5, 2, 2.5, 3 s


@pytest.mark.parametrize(
    "wrong",
    [{"start_s": -1}, {"start_s": 2, "end_s": 2}, {"start_s": float("nan")}, {"fps": 0}, {"num_threads": 0}],
)
def test_impossible_wishes_are_refused(render, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        open_video(render("a.mp4", 40), **wrong)


# In which shape and colours


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_display_matrices_are_honoured(render, rotation, mirrored):
    path = render("turned.mp4", 5, rotation=rotation, mirrored=mirrored)
    frames, _, metadata = read_all(path)
    shape = (64, 96, 3) if rotation % 180 == 0 else (96, 64, 3)
    assert (metadata.height, metadata.width, 3) == shape
    # `mirrored` mirrors the turned picture; the reader tells what comes to the same, mirroring first.
    assert (metadata.rotation, metadata.mirrored) == (-rotation % 360 if mirrored else rotation, mirrored)
    for number, frame in enumerate(frames):
        assert frame.image.shape == shape
        coded = numbered_picture(number, 96, 64)
        shown = np.rot90(coded, rotation // 90)[:, :: -1 if mirrored else 1]
        assert np.abs(frame.image.astype(int) - shown).mean() < 12
    np.testing.assert_array_equal(read_frames(path, [3])[0], frames[3].image)


def render_flat(path, planes, pixel_format, matrix, color_range, codec="ffv1"):
    """One frame of a flat colour, given as the values of its planes, losslessly coded."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pixel_format
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, color_range
        frame = av.VideoFrame(32, 32, pixel_format)
        frame.colorspace, frame.color_range = matrix, color_range
        for plane, value in zip(frame.planes, planes, strict=True):
            width = 2 if pixel_format.endswith("le") else 1
            plane.update(np.full(plane.buffer_size // width, value, f"<u{width}").tobytes())
        container.mux(stream.encode(frame) + stream.encode())
    return path


def rgb_by_hand(y, u, v, matrix, is_full_range):
    """ITU-R BT.601 / BT.709 / BT.2020, 8 bit."""
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 2: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    luma, cb, cr = (
        (y, u - 128, v - 128)
        if is_full_range
        else ((y - 16) * 255 / 219, (u - 128) * 255 / 224, (v - 128) * 255 / 224)
    )
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    return np.clip([red, (luma - kr * red - kb * blue) / (1 - kr - kb), blue], 0, 255)


@pytest.mark.parametrize("is_full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 2, 5, 9])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p", "yuv420p10le"])
def test_colour_matrix_and_range_are_respected(tmp_path, pixel_format, matrix, is_full_range):
    y, u, v = 120, 90, 170
    scale = 4 if "10" in pixel_format else 1
    path = render_flat(
        tmp_path / "flat.mkv",
        (y * scale, u * scale, v * scale),
        pixel_format,
        matrix,
        2 if is_full_range else 1,
    )
    frames, _, metadata = read_all(path)
    assert metadata.pixel_format == pixel_format
    np.testing.assert_allclose(frames[0].image[16, 16], rgb_by_hand(y, u, v, matrix, is_full_range), atol=2.5)


def test_a_colour_matrix_that_cannot_be_converted_is_read_as_bt601(tmp_path):
    path = render_flat(tmp_path / "ycgco.mkv", (120, 90, 170), "yuv444p", 8, 1)
    np.testing.assert_allclose(
        read_all(path)[0][0].image[9, 9], rgb_by_hand(120, 90, 170, 5, False), atol=2.5
    )


def test_full_range_jpeg_is_not_stretched(render):
    frames, _, metadata = read_all(render("a.avi", 3, codec="mjpeg", size=(64, 64)))
    assert metadata.pixel_format == "yuvj420p"
    assert np.abs(frames[0].image.astype(int) - numbered_picture(0, 64, 64)).mean() < 4


def test_gray_becomes_three_equal_channels(render):
    frames, _, metadata = read_all(render("gray.mkv", 3, codec="ffv1", pixel_format="gray"))
    assert metadata.pixel_format == "gray"
    assert (frames[1].image[..., :1] == frames[1].image).all()
    assert read_numbers(frame.image for frame in frames) == [0, 1, 2]


def test_lossless_rgb_comes_back_exactly_in_memory_of_its_own(render):
    path = render("rgb.mkv", 5, codec="ffv1", pixel_format="bgr0")
    frames, _, _ = read_all(path)
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.image, numbered_picture(number, 96, 64))
    raw = render("raw.avi", 5, codec="rawvideo", pixel_format="rgb24")
    for number, frame in enumerate(iter_frames(raw)):
        np.testing.assert_array_equal(frame.image, numbered_picture(number, 96, 64))
        frame.image[:] = 0  # must not reach into the decoder


def test_alpha_is_dropped(tmp_path):
    picture = np.zeros((16, 16, 4), np.uint8)
    picture[..., :3], picture[:8, :, 3] = (200, 100, 50), 255
    with av.open(str(tmp_path / "alpha.mov"), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgba"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgba")) + stream.encode())
    frames, _, _ = read_all(tmp_path / "alpha.mov")
    np.testing.assert_array_equal(frames[0].image, picture[..., :3])


@pytest.mark.parametrize("size", [(2, 2), (5, 33), (131, 97), (64, 48)])
def test_odd_sizes_are_exact(render, size):
    frames, _, _ = read_all(render("odd.mkv", 2, codec="ffv1", size=size, pixel_format="bgr0"))
    np.testing.assert_array_equal(frames[1].image, numbered_picture(1, *size))


def test_after_a_change_of_size_frames_keep_the_first_size(shared_data):
    frames, _, _ = read_all(shared_data / "hostile" / "resolution_change.ts")
    assert frames[-1].image.shape == (240, 320, 3)
    assert frames[-1].image.std() > 10


# Which stream


def test_cover_art_is_not_the_video(render, tmp_path):
    frames, _, metadata = read_all(render("cover.mp4", 4, cover_art=True))
    assert (len(frames), metadata.width) == (4, 96)
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.start_encoding()
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        for packet in cover.encode(picture) + cover.encode() + sound.encode(silence) + sound.encode():
            container.mux(packet)
    with pytest.raises(VideoDecodeError, match=r"no video stream.*cover art does not count"):
        open_video(tmp_path / "song.mp4")


def test_metadata_tell_what_is_declared(render):
    _, _, metadata = read_all(render("a.mp4", 40))
    assert (metadata.width, metadata.height, metadata.fps, metadata.codec) == (96, 64, 25.0, "h264")
    assert (metadata.num_frames_declared, metadata.duration_declared_s) == (40, 1.6)
    assert (metadata.pixel_format, metadata.pixel_aspect) == ("yuv420p", 1.0)
    assert "mp4" in metadata.container
    assert metadata.frame_duration_s == 0.04
    assert decoder_version().startswith(f"PyAV {av.__version__}, libavcodec ")


# Partial files


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"format_options": {"movflags": "faststart"}}),
        ("a.mkv", {}),
        ("a.mkv", {"audio": "last", "audio_s": 9}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.flv", {}),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_a_cut_file_gives_what_decodes_and_is_not_passed_off_as_whole(render, tmp_path, name, options, share):
    data = render(name, 100, gop=10, **options).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frames, report, _ = read_all(path)
        index = index_frames(path)
    is_whole = len(frames) == 100  # only sound or the index are cut off
    assert not (is_whole and share == 0.5)
    assert report.complete is index.complete is is_whole
    assert {w.category for w in caught} == (set() if is_whole else {PartialVideoWarning})
    assert read_numbers(frame.image for frame in frames)[:-3] == list(range(len(frames) - 3))
    assert index.num_frames == len(frames)
    with pytest.raises(IndexError):
        read_frames(path, [len(frames)], index)


def test_an_edit_list_may_hide_the_end(render, tmp_path):
    data = bytearray(render("a.mp4", 40).read_bytes())
    at = data.index(b"elst") + 12  # size and type before it; version, flags and count behind
    assert int.from_bytes(data[at : at + 4], "big") == 1600  # milliseconds
    data[at : at + 4] = (800).to_bytes(4, "big")
    (tmp_path / "trimmed.mp4").write_bytes(data)
    frames, report, metadata = read_all(tmp_path / "trimmed.mp4")
    assert read_numbers(frame.image for frame in frames) == list(range(20))
    assert metadata.num_frames_declared == 40
    assert report.complete
    assert read_numbers(read_frames(tmp_path / "trimmed.mp4", [19, 3])) == [19, 3]


def test_a_warning_comes_once_and_only_at_the_end(shared_data):
    path = shared_data / "hostile" / "truncated_tail.mp4"
    with open_video(path) as video:
        next(video)
        assert not video.report.complete
        with pytest.warns(PartialVideoWarning):
            list(video)
        assert list(video) == []  # and no second warning, which would be an error here


def test_an_abandoned_reader_reports_itself_incomplete_without_a_warning(render):
    with open_video(render("a.mp4", 40)) as video:
        for frame in video:
            if frame.index == 4:
                break
    assert not video.report.complete
    assert "stopped after" in video.report.reason
    assert list(video) == []


# Sources


def test_bytes_and_open_files_give_the_same_frames(render):
    path = render("a.mp4", 40)
    data = path.read_bytes()
    full = [frame.image for frame in read_all(path)[0]]
    with open(path, "rb") as file:
        file.seek(100)  # wherever it stands, it is read from its beginning
        for source in (str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), file):
            frames, report, _ = read_all(source)
            assert report.complete
            for frame, image in zip(frames, full, strict=True):
                np.testing.assert_array_equal(frame.image, image)
            np.testing.assert_array_equal(read_frames(source, [30, 2]), [full[30], full[2]])
        assert not file.closed


class OneWay(io.RawIOBase):
    """A stream that cannot go back."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def readable(self):
        return True

    def seekable(self):
        return False

    def read(self, size=-1):
        return self._file.read(size)


def test_a_stream_that_cannot_go_back_is_read_forward(render):
    frames, report, _ = read_all(OneWay(render("a.ts", 40).read_bytes()))
    assert read_numbers(frame.image for frame in frames) == list(range(40))
    assert report.complete


class Greedy(io.BytesIO):
    def read(self, size=-1):
        return super().read(size).ljust(size + 100)


class Silent(io.BytesIO):
    def read(self, size=-1):
        return None


class Failing(io.BytesIO):
    def read(self, size=-1):
        if self.tell() > 2000:
            raise OSError("disk on fire")
        return super().read(min(size, 500))


def test_misbehaving_files_do_no_harm(render):
    data = render("a.mp4", 40).read_bytes()
    with pytest.raises(VideoDecodeError, match="when asked for"):
        open_video(Greedy(data))
    with pytest.raises(VideoDecodeError, match="blocking"):
        open_video(Silent(data))
    with pytest.raises(VideoDecodeError, match="fire"):
        open_video(Failing(data))
    data = render("a.mp4", 100, format_options={"movflags": "faststart"}).read_bytes()
    with pytest.raises(VideoDecodeError):
        open_video(io.BytesIO(b""))
    with pytest.raises(VideoDecodeError, match="no bytes"):
        open_video(b"")
    with pytest.raises(TypeError, match="binary mode"):
        open_video(io.StringIO("text"))
    with pytest.raises(TypeError, match="not from int"):
        open_video(7)


def test_a_file_that_fails_on_the_way_is_partial(render):
    class FailingLate(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 9000:
                raise OSError("disk on fire")
            return super().read(min(size, 500))

    data = render("a.mkv", 200, gop=10).read_bytes()
    assert len(data) > 12000
    with pytest.warns(PartialVideoWarning, match="fire"):
        frames, report, _ = read_all(FailingLate(data))
    assert 0 < len(frames) < 200
    assert not report.complete


def test_missing_files_folders_and_addresses_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.mp4"):
        open_video(tmp_path / "nothing.mp4")
    with pytest.raises(IsADirectoryError):
        open_video(tmp_path)
    with pytest.raises(FileNotFoundError, match="addresses are not fetched"):
        open_video("https://localhost:1/video.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoDecodeError, match="not a regular file"):
        open_video(tmp_path / "pipe.mp4")


def test_files_that_point_to_other_files_are_refused(render, tmp_path):
    (tmp_path / "inner.mp4").write_bytes(render("a.mp4", 40).read_bytes())
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile inner.mp4\n")
    (tmp_path / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path / 'inner.mp4'}\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "text.txt").write_text("not a film\n" * 100)  # FFmpeg would paint it
    for name in ("concat.mp4", "list.m3u8", "text.txt"):
        with pytest.raises(VideoDecodeError, match="not a video"):
            open_video(tmp_path / name)


def test_a_still_image_is_no_video(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "photo.png")
    with pytest.raises(VideoDecodeError, match="not a video"):
        open_video(tmp_path / "photo.png")


def test_names_that_look_like_protocols_are_files(render, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("concat:a|b.mp4").write_bytes(render("a.mp4", 40).read_bytes())
    assert len(list(iter_frames("concat:a|b.mp4"))) == 40


def test_a_file_that_gives_nothing_in_time_is_given_up(render):
    class Slow(io.BytesIO):
        def read(self, size=-1):
            time.sleep(0.02)
            return super().read(min(size, 100))

    class Endless(io.BytesIO):
        def read(self, size=-1):
            return super().read(size) or bytes(size)

    data = render("a.ts", 40).read_bytes()
    with pytest.raises(VideoDecodeError, match=r"within 0\.1 s"):
        read_all(Slow(data), timeout_s=0.1)
    with pytest.raises(VideoDecodeError, match=r"within 0\.5 s"):
        read_all(Endless(data), timeout_s=0.5)


# Housekeeping


def test_memory_holds_a_few_frames_only(render):
    alive = []
    for frame in iter_frames(render("long.mp4", 400, size=(64, 48), gop=10)):
        alive.append(weakref.ref(frame.image))
        del frame
        assert sum(ref() is not None for ref in alive[-50:]) <= 4


def test_frames_outlive_the_reader(render):
    with open_video(render("a.mp4", 40)) as video:
        frame = next(video)
    del video
    gc.collect()
    assert read_number(frame.image) == 0


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of open files here")
def test_files_are_closed_whatever_happens(render, shared_data, tmp_path):
    def count_open():
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    path = render("a.mp4", 40)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(path.read_bytes()[:2000])
    before = count_open()
    for _ in range(3):
        next(iter(iter_frames(path)))
        read_frames(path, [3])
        with pytest.raises(VideoDecodeError):
            open_video(bad)
        with pytest.raises(ValueError):
            open_video(path, fps=-1)
        with pytest.raises(VideoDecodeError):
            open_video(shared_data / "hostile" / "audio_only.mp4")
    assert count_open() == before


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(VideoDecodeError("clip.mp4", "it is empty")))
    assert str(error) == "clip.mp4: it is empty"
    assert (error.file, error.reason) == ("clip.mp4", "it is empty")
    assert isinstance(error, ValueError)


def test_threads_change_no_pixel(render):
    path = render("a.mkv", 40, codec="ffv1")
    for one, two in zip(iter_frames(path), iter_frames(path, num_threads=2), strict=True):
        np.testing.assert_array_equal(one.image, two.image)


def test_exact_fractions_of_the_rate_are_accepted(render):
    path = render("ntsc.mp4", 30, fps=Fraction(30000, 1001))
    frames, report, metadata = read_all(path, fps=Fraction(30000, 1001))
    assert [frame.index for frame in frames] == list(range(30))
    assert metadata.fps == pytest.approx(29.97003)
    assert report.duration_s == pytest.approx(30 * 1001 / 30000)
