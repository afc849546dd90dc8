"""Partial files, and sources that misbehave."""

import io
import os
import re
import struct
import time
import warnings
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from support.bad_muxers import (
    PROGRAM_END,
    not_coded_vop,
    program_stream,
    set_duration,
    split_transport_stream,
    with_gaps,
    write_packets,
)
from support.rendered import read_all, read_numbers, skip_avi_of_old_muxers

from bsp_hf.encoder.container_structure import count_empty_chunks
from bsp_hf.encoder.video import VideoReader, index_frames, read_frames
from bsp_hf.encoder.video_source import PartialVideoWarning, VideoDecodeError

pytestmark = pytest.mark.filterwarnings("error")


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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mxf", {"codec": "mpeg2video"}),
        ("a.asf", {"codec": "wmv2", "b_frames": 0}),
        ("a.rm", {"codec": "rv20", "b_frames": 0}),
        ("a.gif", {"codec": "gif"}),
        ("a.apng", {"codec": "apng", "pixel_format": "rgb24"}),
        ("a.dv", {"codec": "dvvideo", "size": (720, 576), "pixel_format": "yuv420p"}),
        ("a.y4m", {"codec": "rawvideo", "pixel_format": "yuv420p", "container_format": "yuv4mpegpipe"}),
        ("a.ts", {}),
        ("a.webm", {"codec": "libvpx", "format_options": {"live": "1"}}),
    ],
)
def test_a_file_cut_inside_a_picture_does_not_pass_for_whole(render, name, options):
    data = render(name, 30, **options).read_bytes()
    frames, report, _ = read_all(data)
    assert len(frames) == 30 and report.complete
    for share in (0.31, 0.55, 0.71, 0.83):
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            frames, report, _ = read_all(data[: int(len(data) * share) | 1])
            index = index_frames(data[: int(len(data) * share) | 1])
        assert len(frames) == 30 or not report.complete
        assert report.complete is index.complete


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
DASH = {"movflags": "dash+frag_keyframe+empty_moov+skip_trailer"}
GLOBAL_INDEX = {"movflags": "dash+global_sidx+frag_keyframe+empty_moov"}
Y4M = {"codec": "rawvideo", "pixel_format": "yuv420p", "container_format": "yuv4mpegpipe"}
DV = {"codec": "dvvideo", "size": (720, 576), "pixel_format": "yuv420p"}
RAW_MPEG2 = {"codec": "mpeg2video", "container_format": "mpeg2video"}
RAW_MPEG4 = {"codec": "mpeg4", "container_format": "m4v"}
MPEG2_END, END_OF_SEQUENCE = b"\0\0\1\xb7", b"\0\0\1\x0a"


@pytest.mark.parametrize(
    ("name", "options", "whole", "cut"),
    [
        ("a.ts", {}, "unknown", "unknown"),
        ("b.ts", {"codec": "mpeg2video"}, "unknown", "unknown"),
        ("a.h264", {}, "unknown", "unknown"),
        ("a.m2v", RAW_MPEG2, "unknown", "unknown"),
        ("a.m4v", RAW_MPEG4, "unknown", "unknown"),
        ("a.h263", {"codec": "h263", "size": (176, 144), "b_frames": 0}, "unknown", "unknown"),
        ("a.y4m", Y4M, "unknown", "unknown"),
        ("a.dv", DV, "unknown", "unknown"),
        ("a.mjpeg", {"codec": "mjpeg", "container_format": "mjpeg"}, "unknown", "unknown"),
        ("live.webm", {"codec": "libvpx", "format_options": {"live": "1"}}, "unknown", False),
        ("dash.mp4", {"format_options": DASH}, "unknown", False),
        # These say where they end, each in its own way.
        ("a.mp4", {"format_options": FRAGMENTS}, True, False),
        ("b.mp4", {"format_options": GLOBAL_INDEX}, True, False),
        ("a.gif", {"codec": "gif"}, True, False),
        ("a.ivf", {"codec": "libvpx"}, True, False),
        ("a.ogv", {"codec": "libvpx"}, True, "unknown"),
        ("a.mkv", {}, True, False),
        ("a.mkv", {"audio": "last"}, True, False),
        ("a.webm", {"codec": "libvpx-vp9"}, True, False),
        ("a.mp4", {"format_options": {"movflags": "faststart"}}, True, False),
        ("a.avi", {"codec": "mpeg4"}, True, False),
        ("a.mxf", {"codec": "mpeg2video"}, True, False),
        ("a.rm", {"codec": "rv20", "b_frames": 0}, True, False),
        ("a.nut", {}, True, False),
        ("a.gxf", {"codec": "mpeg2video", "size": (720, 576)}, True, False),
        ("a.swf", {"codec": "flv", "b_frames": 0}, True, False),
        ("a.flv", {}, True, False),
        ("b.flv", {"format_options": {"flvflags": "no_duration_filesize"}}, True, "unknown"),
    ],
)
def test_a_file_cut_between_two_pictures_is_called_whole_by_nobody(render, name, options, whole, cut):
    path = render(name, 30, gop=10, **options)
    data = path.read_bytes()
    frames, report, _ = read_all(data)
    assert (len(frames), report.complete, report.reason) == (30, whole, None)
    assert index_frames(data).complete == whole
    with av.open(str(path)) as container:
        starts = [packet.pos for packet in container.demux(video=0) if packet.size and packet.pos]
    for start in {starts[len(starts) * 4 // 5], starts[-1]}:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frames, report, _ = read_all(data[:start])
            is_complete = index_frames(data[:start]).complete
        assert 0 < len(frames) < 30 and report.complete == is_complete == cut
        assert bool(caught) == (cut is False)
    with VideoReader(data, end_s=0.2) as video:
        assert 4 < len(list(video)) < 8 and video.report.complete is True  # all that was asked for


@pytest.mark.parametrize("flags", [DASH, GLOBAL_INDEX, FRAGMENTS])
def test_a_fragmented_file_cut_between_two_fragments_is_not_called_whole(render, flags):
    data = render("fragments.mp4", 30, gop=10, format_options=flags).read_bytes()
    at = data.rindex(b"moof") - 4
    cut = False if flags is GLOBAL_INDEX else "unknown"  # it names all fragments at the beginning
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frames, report, _ = read_all(data[:at])
    assert (len(frames), report.complete) == (20, cut) and bool(caught) == (cut is False)


@pytest.mark.parametrize(
    ("name", "options", "end"),
    [
        ("a.m2v", RAW_MPEG2, MPEG2_END),
        ("a.m1v", {"codec": "mpeg1video", "container_format": "mpeg1video"}, MPEG2_END + bytes(3)),
        ("a.m4v", RAW_MPEG4, b"\0\0\1\xb1"),
        ("a.h264", {}, END_OF_SEQUENCE),
        ("a.h264", {}, b"\0\0\1\x0b"),
        ("a.mpg", {"codec": "mpeg2video"}, b"\0\0\1\xb9"),
    ],
)
def test_a_code_that_ends_the_sequence_is_the_end_of_the_file(render, name, options, end):
    data = render(name, 30, **options).read_bytes()
    frames, report, _ = read_all(data + end)
    assert (len(frames), report.complete) == (30, True)
    assert index_frames(data + end).complete is True


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
def test_a_program_stream_is_whole_by_its_end_code_alone(render, codec):
    data = program_stream(render("a.m2v", 30, codec=codec, container_format=codec))
    packs = [match.start() for match in re.finditer(b"\0\0\1\xba", data)]
    assert len(packs) == 30
    for content, complete in ((data, "unknown"), (data[: packs[17]], "unknown"), (data + PROGRAM_END, True)):
        frames, report, _ = read_all(content)
        assert len(frames) == content.count(b"\0\0\1\xba")
        assert report.complete == index_frames(content).complete == complete
    for lost in (1, 9, packs[-1] - packs[-2]):
        with pytest.warns(PartialVideoWarning):
            read_all(data[:-lost])


def test_a_program_stream_of_a_disc_is_read(render):
    data = render("b.mpg", 30, codec="mpeg2video", size=(320, 240)).read_bytes()
    frames, report, _ = read_all(data)
    assert len(frames) == 30 and report.complete == "unknown"
    for lost in (1, 100, 2000):
        with pytest.warns(PartialVideoWarning):
            read_all(data[:-lost])


def assert_whole(path, slots, num_frames=60):
    """Every frame comes, at its place among frames of 1/25 s, and nothing is said to be missing."""
    frames, report, _ = read_all(path)
    assert read_numbers(frame.image for frame in frames) == list(range(num_frames))
    np.testing.assert_allclose([frame.time_s * 25 for frame in frames], slots, atol=0.05)
    index = index_frames(path)
    assert report.complete and index.complete and index.num_frames == num_frames
    np.testing.assert_array_equal(index.times_s, [frame.time_s for frame in frames])
    for number in (0, 9, 30, num_frames - 1):
        np.testing.assert_array_equal(read_frames(path, [number], index)[0], frames[number].image)


GAPS = {9, 11, 12, 23}
SLOTS = [k for k in range(64) if k not in GAPS]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.3gp", "a.avi"])
def test_pictures_that_are_not_coded_are_not_missing(render, tmp_path, name):
    path = render(name, 60, codec="mpeg4", b_frames=0)
    assert_whole(write_packets(path, tmp_path / name, with_gaps(GAPS, not_coded_vop)), SLOTS)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data.replace(not_coded_vop(), bytes(len(not_coded_vop()))))
    if name not in ("a.mkv", "a.avi"):  # those do not say how many frames they hold, or count these out
        with pytest.warns(PartialVideoWarning, match="60 of 64 declared frames came"):
            read_all(tmp_path / name)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("mjpeg", {}),
        ("mpeg4", {"b_frames": 0}),
        ("libx264", {}),
        ("libx264", {"b_frames": 0}),
        ("ffv1", {}),
        ("rawvideo", {"pixel_format": "bgr24"}),
    ],
)
def test_empty_chunks_of_avi_are_not_missing_frames(render, tmp_path, codec, options):
    skip_avi_of_old_muxers()
    path = render("a.avi", 60, codec=codec, **options)
    assert_whole(write_packets(path, tmp_path / "gaps.avi", with_gaps(GAPS)), SLOTS)
    tail = write_packets(path, tmp_path / "tail.avi", with_gaps({60, 61, 62}, bytes))
    assert_whole(tail, range(60))
    data = (tmp_path / "gaps.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 2 // 3])
    with pytest.warns(PartialVideoWarning, match="of 60 declared frames came"):
        read_all(tmp_path / "cut.avi")


def test_a_chunk_of_avi_whose_length_was_lost_is_no_empty_one(tmp_path):
    def chunk(name, data, length=None):
        return (
            struct.pack("<4sI", name, len(data) if length is None else length) + data + bytes(len(data) % 2)
        )

    frames = [
        chunk(b"00dc", b"\x01" * 5),
        chunk(b"00dc", b""),
        chunk(b"01wb", b""),
        chunk(b"00dc", b"\x01" * 4),
    ]
    data = b"".join([*frames, chunk(b"00dc", b"")])
    assert count_empty_chunks(io.BytesIO(data), stream_index=0) == 2
    data = b"".join([*frames, chunk(b"00dc", b"\x01" * 6, length=0), *frames])
    assert count_empty_chunks(io.BytesIO(data), stream_index=0) == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.webm", {"codec": "libvpx"}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.mkv", {}),
        ("a.mkv", {"audio": "last"}),
        ("a.asf", {"codec": "wmv2", "b_frames": 0}),
        ("a.flv", {"b_frames": 0}),
    ],
)
def test_a_duration_beyond_the_last_picture_is_no_damage(render, tmp_path, name, options):
    data = render(name, 60, **options).read_bytes()
    path = tmp_path / name
    path.write_bytes(data)
    set_duration(path, 9)
    assert_whole(path, range(60))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.warns(PartialVideoWarning):
        read_all(path)


@pytest.mark.parametrize(
    ("codec", "b_frames"), [("libx264", 2), ("libx264", 0), ("libx265", 2), ("mpeg2video", 2)]
)
def test_joined_transport_streams_are_whole_unless_something_is_lost_at_a_join(
    render, tmp_path, codec, b_frames
):
    options = {"x265-params": "log-level=none:keyint=15:min-keyint=15:scenecut=0:open-gop=0"}
    options = options if codec == "libx265" else None
    size = (480, 320)
    path = render("a.mp4", 60, codec=codec, gop=15, b_frames=b_frames, size=size, codec_options=options)
    first, *others = split_transport_stream(path, tmp_path)
    assert len(others) >= 3
    (tmp_path / "joined.ts").write_bytes(first + b"".join(others))
    assert_whole(tmp_path / "joined.ts", range(60))
    for lost in (1, 2, 3):
        (tmp_path / "lossy.ts").write_bytes(first[: -188 * lost] + b"".join(others))
        with pytest.warns(PartialVideoWarning, match="damaged"):
            read_all(tmp_path / "lossy.ts")
    # A packet in the middle of a picture: of stream 0x100, and no picture starts in it.
    middle = next(k for k in range(1880, len(first), 188) if first[k + 1 : k + 3] == b"\x01\x00")
    (tmp_path / "lossy.ts").write_bytes(first[:middle] + first[middle + 188 :] + b"".join(others))
    with pytest.warns(PartialVideoWarning):
        read_all(tmp_path / "lossy.ts")


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
    with VideoReader(path) as video:
        next(video)
        assert not video.report.complete
        with pytest.warns(PartialVideoWarning):
            list(video)
        assert list(video) == []  # and no second warning, which would be an error here


def test_an_abandoned_reader_reports_itself_incomplete_without_a_warning(render):
    with VideoReader(render("a.mp4", 40)) as video:
        for frame in video:
            if frame.index == 4:
                break
    assert not video.report.complete
    assert "stopped after" in video.report.reason
    assert list(video) == []


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
        VideoReader(Greedy(data))
    with pytest.raises(VideoDecodeError, match="blocking"):
        VideoReader(Silent(data))
    with pytest.raises(VideoDecodeError, match="fire"):
        VideoReader(Failing(data))
    data = render("a.mp4", 100, format_options={"movflags": "faststart"}).read_bytes()
    with pytest.raises(VideoDecodeError):
        VideoReader(io.BytesIO(b""))
    with pytest.raises(VideoDecodeError, match="no bytes"):
        VideoReader(b"")
    with pytest.raises(TypeError, match="binary mode"):
        VideoReader(io.StringIO("text"))
    with pytest.raises(TypeError, match="not from int"):
        VideoReader(7)


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
        VideoReader(tmp_path / "nothing.mp4")
    with pytest.raises(IsADirectoryError):
        VideoReader(tmp_path)
    with pytest.raises(FileNotFoundError, match="addresses are not fetched"):
        VideoReader("https://localhost:1/video.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoDecodeError, match="not a regular file"):
        VideoReader(tmp_path / "pipe.mp4")


def test_pictures_that_claim_a_giant_size_are_not_believed(render, tmp_path):
    data = bytearray(render("a.avi", 5, codec="mjpeg").read_bytes())
    at = 0
    while (
        at := data.find(b"\xff\xc0\x00\x11\x08", at + 1)
    ) >= 0:  # start of a JPEG frame: height and width follow
        data[at + 5 : at + 9] = b"\xf0\x00\xf0\x00"
    (tmp_path / "giant.avi").write_bytes(data)
    with pytest.raises(VideoDecodeError, match="not one frame can be decoded"):
        VideoReader(tmp_path / "giant.avi")


def test_files_that_point_to_other_files_are_refused(render, tmp_path):
    (tmp_path / "inner.mp4").write_bytes(render("a.mp4", 40).read_bytes())
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile inner.mp4\n")
    (tmp_path / "list.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{tmp_path / 'inner.mp4'}\n#EXT-X-ENDLIST\n"
    )
    (tmp_path / "text.txt").write_text("not a film\n" * 100)  # FFmpeg would paint it
    for name in ("concat.mp4", "list.m3u8", "text.txt"):
        with pytest.raises(VideoDecodeError, match="not a video"):
            VideoReader(tmp_path / name)


@pytest.mark.parametrize("name", ["raw.mjpeg", "RAW.MJPG", None])
def test_pictures_of_jpeg_one_after_another_are_a_video(render, tmp_path, name):
    with av.open(str(render("a.avi", 40, codec="mjpeg"))) as container:
        pictures = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    source = b"".join(pictures)
    if name is not None:
        (tmp_path / name).write_bytes(source)
        source = tmp_path / name
    assert_whole(source, range(40), 40)
    with pytest.warns(PartialVideoWarning):
        read_all(b"".join(pictures)[:-200])
    for photo in (pictures[0], pictures[0] + pictures[1]):  # some photos carry a second picture
        (tmp_path / "photo.jpg").write_bytes(photo)
        with pytest.raises(VideoDecodeError, match="not a video"):
            VideoReader(tmp_path / "photo.jpg")
    (tmp_path / "still.mjpeg").write_bytes(pictures[0])
    for still in (pictures[0], tmp_path / "still.mjpeg"):
        with pytest.raises(VideoDecodeError, match="not a video"):
            VideoReader(still)


def test_a_still_image_is_no_video(tmp_path):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "photo.png")
    with pytest.raises(VideoDecodeError, match="not a video"):
        VideoReader(tmp_path / "photo.png")


def test_names_that_look_like_protocols_are_files(render, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("concat:a|b.mp4").write_bytes(render("a.mp4", 40).read_bytes())
    assert len(list(VideoReader("concat:a|b.mp4"))) == 40


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
