"""Random access to frames: the same pixels as the full decode, with less work."""

import pickle
from dataclasses import fields

import numpy as np
import pytest
from support.rendered import CODECS, read_all, read_numbers, remux

from bsp_hf.encoder.video import index_frames, read_frames
from bsp_hf.encoder.video_source import VideoDecodeError

pytestmark = pytest.mark.filterwarnings("error")

KEYFRAME_OPTIONS = {
    "libx265": {"x265-params": "keyint=10:min-keyint=10:scenecut=0:open-gop=0:log-level=none"},
    "libsvtav1": {"svtav1-params": "keyint=10:scd=0"},
}


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
    monkeypatch.setattr("bsp_hf.encoder.video.VideoReader", None)  # what decodes from the start
    assert read_numbers(read_frames(path, [38, 2, 25], index)) == [38, 2, 25]


@pytest.mark.parametrize("kind", ["h264 raw", "h264 transport stream", "vp8", "gif", "mpeg4 avi b-frames"])
def test_files_that_cannot_be_trusted_are_counted_by_decoding(render, kind):
    name, options = CODECS[kind]
    assert not index_frames(render(name, 40, **options)).is_seekable


@pytest.mark.parametrize("name", ["refresh.mp4", "refresh.mkv", "refresh.mov"])
def test_random_access_starts_at_no_recovery_point_of_h264(render, name):
    # Large and long enough that the picture at a recovery point differs from the true one.
    options = {"x264-params": "intra-refresh=1:keyint=30"}
    path = render(name, 150, size=(320, 240), b_frames=0, gop=30, codec_options=options)
    assert_random_access_equals_iteration(path)


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("mpeg4", "a.mp4"),
        ("mpeg4", "a.mkv"),
        ("mpeg4", "a.avi"),
        ("libx264", "a.mp4"),
        ("libx264", "a.mkv"),
        ("libx265", "a.mp4"),
        ("libvpx-vp9", "a.webm"),
        ("libsvtav1", "a.mp4"),
        ("qtrle", "a.mov"),
    ],
)
def test_random_access_believes_no_flag_of_a_packet(render, tmp_path, codec, name):
    path = render(name, 30, codec=codec, b_frames=0)

    def flag(packet):
        packet.is_keyframe = True

    assert_random_access_equals_iteration(remux(path, tmp_path / f"flagged_{name}", flag))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg4", "libvpx-vp9", "libsvtav1"])
def test_true_keyframes_are_found_in_the_pictures(render, codec):
    path = render("keys.mkv", 30, codec=codec, gop=10, b_frames=0, codec_options=KEYFRAME_OPTIONS.get(codec))
    index = index_frames(path)
    assert index.is_seekable
    assert index.keyframe_positions.tolist() == [0, 10, 20]


def assert_random_access_equals_iteration(path):
    full = [frame.image for frame in read_all(path)[0]]
    index = index_frames(path)
    assert index.num_frames == len(full)
    for i, image in enumerate(full):
        np.testing.assert_array_equal(read_frames(path, [i], index)[0], image)


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


def test_an_index_survives_pickling(render):
    path = render("a.mp4", 40)
    index = index_frames(path)
    copy = pickle.loads(pickle.dumps(index))
    for field in fields(index):
        np.testing.assert_array_equal(getattr(copy, field.name), getattr(index, field.name))
    assert copy.pts.dtype == np.int64
    assert read_numbers(read_frames(path, [9], copy)) == [9]
