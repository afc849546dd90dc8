"""Every format of segments is read back by the library or parser of that format, exact to the frame."""

import csv
import io
import json
import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser

import av
import numpy as np
import pytest
from support.rendered import render_video

from bsp_hf import write_segments
from bsp_hf.encoder.video import index_frames
from bsp_hf.localization.segments.segmenting import divide_video, exact_frame_rate
from bsp_hf.localization.segments.timelines import edl_rate
from bsp_hf.localization.segments.types import Change, SegmentedVideo, cut_into_segments
from bsp_hf.localization.segments.writing import SEGMENT_FORMATS

NTSC = Fraction(30000, 1001)
CHANGES = [Change(7, "cut", 0.99), Change(12, "action", 0.75), Change(20, "pace", 0.6)]
VARYING_S = [0, 0.04, 0.1, 0.3, 0.31, 0.5, 0.6, 0.93, 1.0, 1.2]
ODD_NAME = 'odd; #=name "ü" <b> & 100%'


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Videos by name, divided at known frames."""
    folder = tmp_path_factory.mktemp("segments")
    paths = {
        "film": render_video(folder / "film.mp4", 30, fps=Fraction(24000, 1001)),
        "ntsc": render_video(folder / f"{ODD_NAME}.mp4", 30, fps=NTSC),
        "twenty": render_video(folder / "twenty.mkv", 30, fps=20),
        "varying": render_video(folder / "varying.mp4", times_s=VARYING_S),
    }
    return {name: divided(path) for name, path in paths.items()}


def divided(path, changes=None, **options):
    index = index_frames(path)
    changes = [Change(3, "cut", 0.9), Change(7, "gradual", 0.8)] if index.num_frames < 30 else CHANGES
    return divide_video(path, index, changes, thumbnails=True, encoder="made", threshold=0.5, **options)


def frames_of(video):
    return [(one.start_frame, one.end_frame) for one in video.segments]


def nearest_frames(video, pairs_s):
    """Frames whose times are nearest to those of segments; an end is the start of the next."""
    times_s = np.append(video.frame_times_s, video.duration_s)
    return [tuple(int(np.abs(times_s - float(time_s)).argmin()) for time_s in pair) for pair in pairs_s]


@pytest.mark.parametrize("name", ["film", "ntsc", "twenty", "varying"])
def test_json_and_csv_hold_every_frame_and_time(videos, name, tmp_path):
    video = videos[name]
    content = json.loads(write_segments(video, tmp_path / "made.json").read_text(encoding="utf-8"))
    assert [(one["start_frame"], one["end_frame"]) for one in content["segments"]] == frames_of(video)
    assert nearest_frames(video, [(o["start_s"], o["end_s"]) for o in content["segments"]]) == frames_of(
        video
    )
    assert Fraction(content["frame_rate"]) == video.frame_rate
    assert content["has_constant_rate"] is (name != "varying")
    assert [one["frame"] for one in content["boundaries"]] == [start for start, _ in frames_of(video)[1:]]
    text = write_segments(video, tmp_path / "made.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["video_id"] for row in rows} == {video.video_id}
    assert nearest_frames(video, [(row["start_s"], row["end_s"]) for row in rows]) == frames_of(video)
    assert [row["kind"] for row in rows] == [one.kind or "" for one in video.segments]


@pytest.mark.parametrize("name", ["film", "ntsc", "twenty", "varying"])
def test_webvtt_is_read_by_ffmpeg(videos, name, tmp_path):
    video = videos[name]
    path = write_segments(video, tmp_path / "made.vtt")
    with av.open(str(path), format="webvtt") as container:
        cues = [one for one in container.demux() if one.size]
        pairs_s = [(one.pts * one.time_base, (one.pts + one.duration) * one.time_base) for one in cues]
    assert nearest_frames(video, pairs_s) == frames_of(video)
    assert [bytes(one).decode() for one in cues] == [video.title_of(n) for n in range(len(video.segments))]


@pytest.mark.parametrize("name", ["film", "ntsc", "twenty", "varying"])
def test_chapters_are_read_by_ffmpeg_and_survive_in_a_video(videos, name, tmp_path):
    video = videos[name]
    path = write_segments(video, tmp_path / "made.ffmetadata")
    with av.open(str(path), format="ffmetadata") as container:
        chapters, title = container.chapters(), container.metadata["title"]
    assert title == video.video_id  # with all that must be escaped
    pairs = [(one["start"] * one["time_base"], one["end"] * one["time_base"]) for one in chapters]
    if name != "varying":
        assert [(a * video.frame_rate, b * video.frame_rate) for a, b in pairs] == frames_of(video)
    assert nearest_frames(video, pairs) == frames_of(video)
    assert chapters[1]["metadata"]["title"] == "Segment 2: cut"
    with av.open(video.path) as source, av.open(str(tmp_path / "with.mkv"), "w") as target:
        target.set_chapters(chapters)
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with av.open(str(tmp_path / "with.mkv")) as container:
        kept = [
            (one["start"] * one["time_base"], one["end"] * one["time_base"]) for one in container.chapters()
        ]
    assert nearest_frames(video, kept) == frames_of(video)


@pytest.mark.parametrize("name", ["film", "ntsc", "twenty", "varying"])
def test_opentimelineio_has_a_clip_for_each_segment(videos, name, tmp_path):
    otio = pytest.importorskip("opentimelineio")
    video = videos[name]
    timeline = otio.adapters.read_from_file(str(write_segments(video, tmp_path / "made.otio")))
    (track,) = timeline.tracks
    assert timeline.name == video.video_id and track.kind == "Video"
    ranges = [clip.source_range for clip in track]
    assert [one.start_time.rate for one in ranges] == pytest.approx([float(video.frame_rate)] * len(ranges))
    pairs = [(one.start_time.value, one.end_time_exclusive().value) for one in ranges]
    if name != "varying":
        assert pairs == frames_of(video)
    rate = float(video.frame_rate)
    for (start, end), one in zip(pairs, video.segments, strict=True):
        assert abs(start / rate - one.start_s) <= 0.5 / rate and abs(end / rate - one.end_s) <= 0.5 / rate
    url = track[0].media_reference.target_url
    assert url.startswith("file:///") and " " not in url and "#" not in url
    assert track[1].metadata["bsp_hf"]["start_frame"] == video.segments[1].start_frame


@pytest.mark.parametrize(
    ("name", "rate", "mode", "factor"),
    [
        ("film", Fraction(24000, 1001), "NON-DROP FRAME", 1),
        ("ntsc", NTSC, "DROP FRAME", 1),
        ("twenty", Fraction(60), "NON-DROP FRAME", 3),
    ],
)
def test_edl_is_read_by_the_adapter(videos, name, rate, mode, factor, tmp_path):
    otio = pytest.importorskip("opentimelineio")
    video = videos[name]
    path = write_segments(video, tmp_path / "made.edl")
    assert path.read_text(encoding="utf-8").split("\n")[1] == f"FCM: {mode}"
    timeline = otio.adapters.read_from_file(str(path), rate=float(rate))
    ranges = [clip.source_range for clip in timeline.tracks[0]]
    pairs = [(one.start_time.value, one.end_time_exclusive().value) for one in ranges]
    assert pairs == [(start * factor, end * factor) for start, end in frames_of(video)]


def test_a_response_with_a_gap_is_drawn_in_parts_and_the_gap_is_named(videos, tmp_path):
    times_s, scores = np.arange(6) / 10, np.array([0.2, np.nan, np.nan, 0.5, 1.0, 0.25])
    video = replace(videos["ntsc"], times_s=times_s, scores=scores, threshold=0.5)
    page = write_segments(video, tmp_path / "gap.html").read_text(encoding="utf-8")
    heights = [
        [float(point.split(",")[1]) for point in points.split()]
        for points in re.findall(r'<polygon points="([^"]+)"', page)
    ]
    assert heights == [[100, 80, 100], [100, 50, 0, 75, 100]]
    written = json.loads(write_segments(video, tmp_path / "gap.json").read_text())
    assert written["skipped_s"] == [[0.1, 0.2]]


def test_drop_frame_timecode_skips_two_numbers_a_minute(tmp_path):
    pytest.importorskip("opentimelineio")
    times_s = np.arange(18_200) / float(NTSC)
    changes = [Change(1799, "cut", 0.9), Change(1800, "cut", 0.9), Change(17_982, "cut", 0.9)]
    segments = cut_into_segments(changes, times_s, 18_200 / float(NTSC), (0, 18_200))
    video = SegmentedVideo("long", segments, times_s, NTSC, 96, 64)
    events = re.findall(r"^\d{3} .*", write_segments(video, tmp_path / "long.edl").read_text(), re.M)
    starts = [event.split()[4] for event in events]
    # 00:00:59;29 is followed by 00:01:00;02; every tenth minute keeps its numbers.
    assert starts == ["00:00:00;00", "00:00:59;29", "00:01:00;02", "00:10:00;00"]


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.images, self.links, self.external = [], [], [], []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "img":
            self.images.append(values["src"])
        if tag == "a":
            self.links.append(values["href"])
        if tag in ("script", "link", "iframe") or values.get("src", "data:")[:5] != "data:":
            self.external.append(tag)
        if tag not in ("meta", "img", "br", "polygon", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_needs_nothing_beside_it_and_shows_each_segment(videos, tmp_path):
    video = videos["ntsc"]
    page = _Page()
    page.feed(write_segments(video, tmp_path / "made.html").read_text(encoding="utf-8"))
    assert not page.open and not page.external
    assert len(page.images) == len(video.segments) == 4
    assert ODD_NAME in page.text and "change of action 0.75" in page.text
    places = [link for link in page.links if "#t=" in link]
    assert [link.rpartition("#t=")[2] for link in places] == [
        f"{one.start_s:.3f},{one.end_s:.3f}" for one in video.segments
    ]
    assert all(link.startswith("file:///") for link in places)


@pytest.mark.parametrize("name", list(SEGMENT_FORMATS))
def test_a_video_without_a_change_is_one_segment_in_every_format(name, tmp_path):
    path = render_video(tmp_path / "one.mp4", 5)
    video = divide_video(path, index_frames(path), [])
    assert frames_of(video) == [(0, 5)] and video.duration_s == pytest.approx(0.2)
    suffix = SEGMENT_FORMATS[name].suffix
    assert "1" in write_segments(video, tmp_path / f"one{suffix}").read_text(encoding="utf-8")


def test_formats_and_names_that_do_not_fit_are_refused(videos, tmp_path):
    with pytest.raises(ValueError, match="ends in none of"):
        write_segments(videos["film"], tmp_path / "made.xml")
    with pytest.raises(ValueError, match="'xml' is none of json"):
        write_segments(videos["film"], tmp_path / "made.xml", "xml")
    times_s = np.arange(1200) / 25
    changes = [Change(frame, "cut", 0.9) for frame in range(1, 1100)]
    many = SegmentedVideo(
        "many", cut_into_segments(changes, times_s, 48.0, (0, 1200)), times_s, Fraction(25), 96, 64
    )
    with pytest.raises(ValueError, match=r"at most 999 events.*--max-segments 999"):
        write_segments(many, tmp_path / "many.edl")
    assert not list(tmp_path.iterdir())


def test_frame_rates_are_exact():
    assert exact_frame_rate(29.97) == NTSC and exact_frame_rate(23.976) == Fraction(24000, 1001)
    assert exact_frame_rate(19.62) == Fraction(981, 50) and exact_frame_rate(12.5) == Fraction(25, 2)
    assert edl_rate(NTSC) == NTSC and edl_rate(Fraction(15)) == 30 and edl_rate(Fraction(25, 2)) == 25
    assert edl_rate(Fraction(981, 50)) == Fraction(24000, 1001) and edl_rate(Fraction(120)) == 60
