"""Reading videos: which frames come, at what time, and what is said of hostile files."""

import csv
import gc
import pickle
import warnings
import weakref
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.bad_muxers import (
    drop_default_duration,
    in_coded_order,
    packed_bitstream,
    set_sample_durations_to_zero,
    write_packets,
)
from support.rendered import read_all, read_number, read_numbers, skip_avi_of_old_muxers

from bsp_hf.encoder.video import VideoReader, index_frames, open_video, read_frames
from bsp_hf.encoder.video_source import PartialVideoWarning, VideoDecodeError

pytestmark = pytest.mark.filterwarnings("error")

HOSTILE = [
    "alpha.mov",
    "audio_only.mp4",
    "audio_track_first.mp4",
    "bframes_edit_list.mp4",
    "corrupt_middle.mp4",
    "elementary_no_pts.h264",
    "fps_1.mp4",
    "fps_240.mp4",
    "fragmented.mp4",
    "gray_ffv1.mkv",
    "interlaced_tff.mp4",
    "late_start.mp4",
    "mjpeg.avi",
    "negative_pts.ts",
    "no_keyframe_start.ts",
    "odd_131x97.mp4",
    "palette.gif",
    "resolution_change.ts",
    "rotated_90.mp4",
    "single_frame.mp4",
    "ten_bit.mp4",
    "text_renamed.mp4",
    "truncated_no_moov.mp4",
    "truncated_tail.mp4",
    "vfr.mp4",
    "vp9.webm",
    "zero_bytes.mp4",
]


def plain_decode(path):
    """All frames as PyAV itself gives them."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def expected(shared_data):
    with open(shared_data / "hostile" / "expected.csv", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_every_hostile_file_is_tested(expected):
    assert sorted(expected) == sorted(HOSTILE)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_behaves_as_stated(shared_data, expected, name):
    row, path = expected[name], shared_data / "hostile" / name
    if row["outcome"] == "error":
        with pytest.raises(VideoDecodeError, match=name):
            VideoReader(path)
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
        VideoReader(shared_data / "hostile" / name)
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


def test_every_frame_comes_once_and_in_order(numbered):
    frames, report, metadata = read_all(numbered)
    assert read_numbers(frame.image for frame in frames) == list(range(40))
    np.testing.assert_allclose([f.time_s for f in frames], np.arange(40) / metadata.fps, atol=6e-4)
    assert report.complete
    assert report.reason is None
    assert all(frame.image.flags.c_contiguous and frame.image.flags.writeable for frame in frames)


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


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        *[("libx264", f"a.{suffix}") for suffix in ("mp4", "mov", "mkv", "ts", "flv", "avi")],
        *[("libx265", f"a.{suffix}") for suffix in ("mp4", "mkv", "ts")],
        *[("mpeg4", f"a.{suffix}") for suffix in ("mp4", "mkv", "avi")],
        ("mpeg2video", "a.avi"),
    ],
)
def test_reordered_pictures_without_showing_times_come_at_a_constant_rate(render, tmp_path, codec, name):
    if name.endswith("avi"):
        skip_avi_of_old_muxers()
    options = {"x265-params": "log-level=none"} if codec == "libx265" else None
    source = "source.avi" if name.endswith("avi") else "source.mp4"
    path = render(source, 40, codec=codec, b_frames=3, codec_options=options)
    path = write_packets(path, tmp_path / name, in_coded_order)
    frames, report, metadata = read_all(path)
    assert read_numbers(frame.image for frame in frames) == list(range(40))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(40) / 25, atol=1e-3)
    assert metadata.fps == 25 and report.complete
    np.testing.assert_array_equal(index_frames(path).times_s, [frame.time_s for frame in frames])
    assert read_numbers(read_frames(path, [39, 2, 1])) == [39, 2, 1]


@pytest.mark.parametrize("name", ["packed.avi", "packed.mkv", "packed.mp4"])
def test_packed_pictures_come_at_a_constant_rate(render, tmp_path, name):
    path = render("source.avi", 41, codec="mpeg4", b_frames=1, gop=13)
    frames, report, _ = read_all(write_packets(path, tmp_path / name, packed_bitstream))
    assert read_numbers(frame.image for frame in frames) == list(range(41))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(41) / 25, atol=1e-3)
    assert report.complete


def test_a_lost_packet_moves_no_other_picture(render, tmp_path):
    def without_one(packets):
        return [packet for packet in in_coded_order(packets) if packet[1] != 20]

    for name in ("a.avi", "a.mp4"):
        path = render(name, 40)
        with warnings.catch_warnings(record=True):  # AVI tells the loss, mp4 does not know of it
            warnings.simplefilter("always")
            frames, _, _ = read_all(write_packets(path, tmp_path / name, without_one))
        assert len(frames) == 39
        whole = [frame for frame in frames if not 16 <= frame.time_s * 25 < 24]  # of the other groups
        assert read_numbers(frame.image for frame in whole) == [*range(16), *range(24, 40)]
        np.testing.assert_allclose([frame.time_s * 25 for frame in whole], [*range(16), *range(24, 40)])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mov", {}),
        ("a.ts", {}),
        ("a.mkv", {}),
        ("a.flv", {}),
        ("a.webm", {"codec": "libvpx"}),
    ],
)
@pytest.mark.parametrize("fps", [2000, 5000])
def test_high_speed_rates_are_believed_where_the_stamps_agree(render, tmp_path, name, options, fps):
    path = render(name, 100, fps=fps, b_frames=0, **options)
    frames, report, metadata = read_all(path)
    assert metadata.fps == pytest.approx(fps, rel=0.01)
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(100) / fps, atol=1e-3)
    assert report.complete
    with open(path, "rb") as file:
        assert len(read_all(file)[0]) == 100  # measuring leaves the file where it stood


@pytest.mark.parametrize("fps", [15, 24, 30, 60])
def test_a_browser_recording_is_not_taken_for_a_thousand_frames_a_second(render, tmp_path, fps):
    rng = np.random.default_rng(fps)
    stamps_ms = np.round(np.arange(90) * 1000 / fps) + rng.integers(-5, 6, 90)
    times_s = np.maximum.accumulate(np.maximum(stamps_ms, 0)) / 1000 + np.arange(90) * 1e-3
    path = tmp_path / "browser.webm"
    options = {"times_s": times_s.tolist(), "codec": "libvpx", "format_options": {"live": "1"}, "fps": fps}
    path.write_bytes(render("a.webm", **options).read_bytes())
    drop_default_duration(path)
    frames, report, metadata = read_all(path)
    assert metadata.fps == pytest.approx(89 / times_s[-1], rel=0.01)
    np.testing.assert_allclose([frame.time_s for frame in frames], times_s - times_s[0], atol=2e-3)
    assert report.complete


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mov", {"b_frames": 0}),
        ("a.mp4", {"codec": "mpeg4", "b_frames": 0, "fps": 30}),
        ("a.mp4", {"codec": "libx265", "codec_options": {"x265-params": "log-level=none"}}),
    ],
)
def test_durations_of_zero_are_no_times(render, tmp_path, name, options):
    path = tmp_path / name
    path.write_bytes(render(name, 30, format_options={"use_editlist": "0"}, **options).read_bytes())
    set_sample_durations_to_zero(path)
    frames, report, metadata = read_all(path)
    fps = options.get("fps", 25)
    assert metadata.fps == pytest.approx(fps)
    assert read_numbers(frame.image for frame in frames) == list(range(30))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(30) / fps)
    assert report.num_repaired_times == 30
    np.testing.assert_array_equal(index_frames(path).times_s, [frame.time_s for frame in frames])


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
    numbers = [read_number(frame.image) for frame in VideoReader(path, fps=2)]
    assert numbers == [0, 3, 4, 5, 5, 6, 6]  # nearest to 0, 0.5, 1, 1.5, 2, 2.5, 3 s


@pytest.mark.parametrize(
    "wrong",
    [{"start_s": -1}, {"start_s": 2, "end_s": 2}, {"start_s": float("nan")}, {"fps": 0}, {"num_threads": 0}],
)
def test_impossible_wishes_are_refused(render, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        VideoReader(render("a.mp4", 40), **wrong)


def test_memory_holds_a_few_frames_only(render):
    alive = []
    for frame in VideoReader(render("long.mp4", 400, size=(64, 48), gop=10)):
        alive.append(weakref.ref(frame.image))
        del frame
        assert sum(ref() is not None for ref in alive[-50:]) <= 4


def test_frames_outlive_the_reader(render):
    with VideoReader(render("a.mp4", 40)) as video:
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
        with VideoReader(path) as video:
            next(video)
        next(VideoReader(path))  # abandoned
        read_frames(path, [3])
        with pytest.raises(VideoDecodeError):
            VideoReader(bad)
        with pytest.raises(ValueError):
            VideoReader(path, fps=-1)
        with pytest.raises(VideoDecodeError):
            VideoReader(shared_data / "hostile" / "audio_only.mp4")
    assert count_open() == before


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(VideoDecodeError("clip.mp4", "it is empty")))
    assert str(error) == "clip.mp4: it is empty"
    assert (error.file, error.reason) == ("clip.mp4", "it is empty")
    assert isinstance(error, ValueError)


def test_threads_change_no_pixel(render):
    path = render("a.mkv", 40, codec="ffv1")
    for one, two in zip(VideoReader(path), VideoReader(path, num_threads=2), strict=True):
        np.testing.assert_array_equal(one.image, two.image)


def test_exact_fractions_of_the_rate_are_accepted(render):
    path = render("ntsc.mp4", 30, fps=Fraction(30000, 1001))
    frames, report, metadata = read_all(path, fps=Fraction(30000, 1001))
    assert [frame.index for frame in frames] == list(range(30))
    assert metadata.fps == pytest.approx(29.97003)
    assert report.duration_s == pytest.approx(30 * 1001 / 30000)


def test_open_video_reads_a_whole_file(render):
    path = render("opened.mp4", 12)
    with open_video(path) as video, VideoReader(path) as same:
        assert [frame.time_s for frame in video] == [frame.time_s for frame in same]
        assert video.report.complete and video.metadata.fps == same.metadata.fps
